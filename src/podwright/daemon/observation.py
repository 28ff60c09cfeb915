"""What the daemon shows of itself, as far as the configuration asks for it. The libraries are imported only then."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator

from podwright.core.runtime import Runtime
from podwright.daemon.config import Observe
from podwright.observe.dump import dump

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def observed(runtime: Runtime, config: Observe) -> AsyncIterator[None]:
    """Serves metrics, sends traces, and answers SIGUSR1 with a dump of all tasks and threads in the log, meanwhile."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: logger.info("by SIGUSR1: %s", dump()))
    async with contextlib.AsyncExitStack() as stack:
        if config.address:
            from podwright.observe.http import HttpServer  # noqa: PLC0415
            from podwright.observe.metrics import Metrics  # noqa: PLC0415

            metrics = Metrics(runtime)
            server = HttpServer(config.address, runtime, metrics)
            stack.push_async_callback(asyncio.to_thread, server.close)
            stack.callback(metrics.start().cancel)
        if config.traces:
            from podwright.observe.traces import Traces  # noqa: PLC0415

            traces = Traces(config.traces)
            traces.start()
            stack.push_async_callback(asyncio.to_thread, traces.close)
        yield
