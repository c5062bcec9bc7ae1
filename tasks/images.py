"""`fab images.*`: images without a registry."""

from __future__ import annotations

from tasks.core.session import Session
from tasks.core.task import Report, host_task


@host_task(
    help={
        "images": "References with their tags, comma separated; without it BACKEND_IMAGE and FRONTEND_IMAGE.",
        "json": "one JSON document at the end; progress goes to stderr",
    }
)
def push(s: Session, images: str = "", json: bool = False) -> Report:
    """Send images from the Docker engine here to the host, over SSH and without the layers it has.

    No registry is needed. Changes no container: `fab deploy --build` builds, sends and deploys. What is there already
    is not sent; an interrupted transfer leaves nothing half there.
    """
    from tasks.operations import images as operation

    return operation.push_named(s, images)


@host_task(help={"json": "one JSON document at the end; progress goes to stderr"})
def build(s: Session, json: bool = False) -> Report:
    """Build BACKEND_BUILD and FRONTEND_BUILD with the Docker engine here, for the platform of the host.

    The images are tagged as BACKEND_IMAGE and FRONTEND_IMAGE name them. Nothing is sent: `fab images.push` does.
    """
    from tasks.operations import images as operation

    return operation.build_configured(s)
