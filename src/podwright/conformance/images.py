"""Images, as far as one that is there can show it."""

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, same
from podwright.cri import v1


@check("kubelet: an image that is missing is no error")
def missing_is_empty(bench: Bench) -> None:
    """ImageStatus of an image that is not on the node answers without an image."""
    answer = bench.cri.image_status("example.invalid/none:1")
    expect(not answer.HasField("image"), f"there is an image: {answer.image}")


@check("api.proto, RemoveImage: idempotent")
def removing_what_is_missing(bench: Bench) -> None:
    """RemoveImage of an image that is not on the node succeeds."""
    bench.cri.remove_image("example.invalid/none:1")


@check("kubelet: image GC needs id and size")
def items_are_whole(bench: Bench) -> None:
    """ListImages and ImageStatus give id, size and names, and are of one mind."""
    image = bench.cri.image_status(bench.image).image
    expect(image.id and image.size > 0, f"id or size is missing: {image}")
    expect(image.repo_tags or image.repo_digests, "the image has no name")
    listed = {one.id: one for one in bench.cri.list_images().images}
    expect(image.id in listed, "ListImages does not have it")
    same(sorted(listed[image.id].repo_tags), sorted(image.repo_tags), "repo_tags in the list")


@check("cri-api 1.36: one id in Image, ImageStatus and containers")
def one_id_everywhere(bench: Bench) -> None:
    """The image's id names it: in ImageStatus, in filters, in new containers."""
    image_id = bench.cri.image_status(bench.image).image.id
    same(bench.cri.image_status(image_id).image.id, image_id, "the id of what the id names")
    wanted = v1.ImageFilter(image=v1.ImageSpec(image=image_id))
    same([one.id for one in bench.cri.list_images(wanted).images], [image_id], "the list for the id")
    pod = bench.pod()
    container = bench.create(pod, image=v1.ImageSpec(image=image_id))
    same(bench.status(container).image_id, image_id, "image_id")
    (listed,) = bench.listed(pod)
    same(listed.image_id or image_id, image_id, "image_id in the list")
