"""`podwright pull`: brings images to the node, and shows how far they are where the runtime tells.

Only Podwright does (control/v1.proto); of other runtimes it is only said when they begin and when they are done.
"""

import argparse
import contextlib
import getpass
import sys
import threading
import time

from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.output import report
from podwright.client import Client
from podwright.control import v1 as control
from podwright.cri import v1
from podwright.errors import PodwrightError, Unimplemented

_LOOK_SECONDS = 0.1


def pull(options: argparse.Namespace) -> int:
    """Pulls one image after the other; prints the id of each."""
    auth = _credentials(options.creds) if options.creds else None
    with connect(options) as cri:
        for name in options.names:
            pull_image(cri, name, auth, quiet=options.quiet)
    return 0


def pull_image(cri: Client, name: str, auth: v1.AuthConfig | None = None, *, quiet: bool) -> None:
    """Pulls an image and prints its id; unless `quiet`, tells people how far it is and how long it took."""
    began = time.monotonic()
    if quiet:
        print(cri.pull_image(name, auth=auth).image_ref)
        return
    report(f"pulling {name}")
    reference = _watched(cri, name, auth) if sys.stderr.isatty() else cri.pull_image(name, auth=auth).image_ref
    image = cri.image_status(reference).image
    report(f"pulled {size(image.size)} in {time.monotonic() - began:.1f} s")
    print(reference)


def _credentials(text: str) -> v1.AuthConfig:
    user, colon, password = text.partition(":")
    return v1.AuthConfig(username=user, password=password if colon else getpass.getpass("password: "))


def _watched(cri: Client, name: str, auth: v1.AuthConfig | None) -> str:
    """Pulls in a thread, and meanwhile draws a bar for each layer."""
    call = _Pull(cri, name, auth)
    call.start()
    with contextlib.suppress(Unimplemented):  # another runtime's, it tells nobody
        _draw(cri, name, call)
    call.join()
    return call.result()


class _Pull(threading.Thread):
    """The call, which people wait for in another thread. It is abandoned when they no longer do."""

    def __init__(self, cri: Client, name: str, auth: v1.AuthConfig | None) -> None:
        super().__init__(name="podwright-pull", daemon=True)
        self._cri, self._name, self._auth = cri, name, auth
        self._reference = ""
        self._error: PodwrightError | None = None

    def run(self) -> None:
        try:
            self._reference = self._cri.pull_image(self._name, auth=self._auth).image_ref
        except PodwrightError as error:
            self._error = error

    def result(self) -> str:
        """The image's id. Raises what the call raised."""
        if self._error is not None:
            raise self._error
        return self._reference


def _draw(cri: Client, name: str, call: _Pull) -> None:
    from podwright.cli.bars import Bars  # noqa: PLC0415  rich takes its time
    from podwright.client.control import Control  # noqa: PLC0415

    with Control(cri.endpoints["ImageService"]) as control_client, Bars() as bars:
        while call.is_alive():
            for answer in control_client.watch_pulls(name):
                bars.show(_layers(answer))
            call.join(_LOOK_SECONDS)  # it has not begun, or it is about to end
        if call.result():
            bars.finish()


def _layers(answer: control.WatchPullsResponse) -> dict[str, control.Layer]:
    """All layers that are being pulled, by digest, in their order."""
    return {layer.digest: layer for pull in answer.pulls for layer in pull.layers}
