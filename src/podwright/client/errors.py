"""Failures that only clients meet. All others are the kinds of podwright.errors, with the runtime's own message.

ConnectionFailed     the runtime does not answer as one should; trying again may help
NoCommonVersion      the runtime answers, and serves no CRI version that this client speaks
RestartNeeded        the runtime was replaced by one without the version that this client had chosen
"""

from podwright.errors import FailedPrecondition, Unavailable, Unimplemented


class ConnectionFailed(Unavailable):
    """The service could not be reached, or failed before a version was agreed on; trying again may help."""


class NoCommonVersion(Unimplemented):
    """The service speaks neither CRI v1 nor v1alpha2."""


class RestartNeeded(FailedPrecondition):
    """The service no longer speaks the CRI version chosen at first; a new client would choose anew."""
