"""The client for scripts and threads: each call blocks until its answer is there.

Sends what session.py plans. The lower part of this file is generated.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from podwright.client.channel import OPTIONS, translate
from podwright.client.endpoint import Endpoint
from podwright.client.session import KUBELET_TIMEOUT, Call, Done, Pause, Plan, Session, advance, endpoints_of
from podwright.cri import v1
from podwright.cri.methods import METHODS, ApiVersion, Method, ServiceName
from podwright.errors import PodwrightError, Unimplemented

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


class Client:
    """A connection to a CRI runtime; close it, or use it in a `with`. Safe to use from many threads.

    It has a method for each RPC. Their parameters are the fields of the request; `deadline` is how many seconds to
    wait (None: what a kubelet waits, math.inf: for ever). Failures are the kinds of podwright.errors with the
    runtime's own message, or those of podwright.client.errors.

    Nothing is sent before the first call, which then agrees on a CRI version with the service it belongs to.
    """

    def __init__(
        self,
        endpoint: str | Endpoint | None = None,
        *,
        image_endpoint: str | Endpoint | None = None,
        timeout: float = KUBELET_TIMEOUT,
    ) -> None:
        """`endpoint` is unix:///path or a path; None looks for a runtime at the usual places.

        Images are asked for there too unless `image_endpoint` says otherwise. `timeout`, in seconds, is what a plain
        call may take. Raises InvalidArgument for what is no endpoint, Unavailable if there is none to be found.
        """
        self._session = Session(endpoints_of(endpoint, image_endpoint), timeout)
        self._channels = {
            service: grpc.insecure_channel(endpoint.target, options=OPTIONS)
            for service, endpoint in self._session.endpoints.items()
        }

    @property
    def endpoints(self) -> Mapping[ServiceName, Endpoint]:
        """Where each service is asked for."""
        return self._session.endpoints

    @property
    def api_versions(self) -> Mapping[ServiceName, ApiVersion]:
        """The CRI version agreed on with each service; a service that was not called yet is absent."""
        return self._session.versions

    def connect(self, *, wait: float = 0) -> Self:
        """Agrees on a version with both services now. A runtime that does not answer is tried for `wait` seconds.

        Raises ConnectionFailed, or NoCommonVersion.
        """
        self._drive(self._session.connect(wait))
        return self

    def close(self) -> None:
        """Ends the connection and all calls in flight."""
        for channel in self._channels.values():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unary(self, name: str, request: Message, response: type[Answer], deadline: float | None) -> Answer:
        answer = self._drive(self._session.unary(METHODS[name], request, deadline))
        assert isinstance(answer, response)
        return answer

    def _stream(self, name: str, request: Message, response: type[Answer], deadline: float | None) -> Iterator[Answer]:
        """The call is sent at once, so that no event after it is missed; messages are read as they are asked for."""
        method = METHODS[name]
        call = self._drive(self._session.open(method, request, deadline))
        messages = self._received(call, self._send(call), deadline) if call else self._listed(method, request, deadline)
        assert response is method.response
        return cast("Iterator[Answer]", messages)

    def _received(self, call: Call, stream: Iterator[Message], deadline: float | None) -> Iterator[Message]:
        first = True
        try:
            for message in stream:
                first = False
                yield message
        except grpc.RpcError as error:
            failure = self._translated(error, call)
            if not (first and isinstance(failure, Unimplemented)):
                raise failure from None
            self._drive(self._session.refused(call))
        else:
            return
        finally:
            cast("grpc.Future[None]", stream).cancel()
        yield from self._listed(call.method, call.request, deadline)

    def _listed(self, method: Method, request: Message, deadline: float | None) -> Iterator[Message]:
        yield self._drive(self._session.listed(method, request, deadline))

    def _drive(self, plan: Plan[Result]) -> Result:
        step = advance(plan, None)
        while not isinstance(step, Done):
            step = advance(plan, self._carry_out(step))
        return step.result

    def _carry_out(self, step: Call | Pause) -> Message | PodwrightError | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return cast("Message", self._send(step))
        except grpc.RpcError as error:
            return self._translated(error, step)

    def _send(self, call: Call) -> Any:  # noqa: ANN401  one of two shapes, by method.streams
        """The answer, or an iterator of answers that raises as it goes."""
        method, channel = call.method, self._channels[call.method.service]
        connect = channel.unary_stream if method.streams else channel.unary_unary
        send = connect(
            call.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return send(call.request, timeout=call.timeout)

    def _translated(self, error: grpc.RpcError, call: Call) -> PodwrightError:
        status = cast("grpc.Call", error)
        endpoint = self._session.endpoints[call.method.service]
        return translate(status.code(), status.details(), call.path, endpoint)

    # ---- written by tools/make_client.py; run `make proto` after a change of v1.proto

    def version(self, version: str = "", *, deadline: float | None = None) -> v1.VersionResponse:
        """Who answers, and in which API version."""
        request = v1.VersionRequest(version=version)
        return self._unary("Version", request, v1.VersionResponse, deadline)

    def run_pod_sandbox(
        self, config: v1.PodSandboxConfig, *, runtime_handler: str = "", deadline: float | None = None
    ) -> v1.RunPodSandboxResponse:
        """Makes and starts a sandbox: namespaces, network, cgroup.

        It is ready when the call returns. Nothing is left of it when the call fails.
        """
        request = v1.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        return self._unary("RunPodSandbox", request, v1.RunPodSandboxResponse, deadline)

    def stop_pod_sandbox(self, pod_sandbox_id: str, *, deadline: float | None = None) -> v1.StopPodSandboxResponse:
        """Kills what runs in the sandbox and gives its network back.

        May be repeated; a missing sandbox is a success.
        """
        request = v1.StopPodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        return self._unary("StopPodSandbox", request, v1.StopPodSandboxResponse, deadline)

    def remove_pod_sandbox(self, pod_sandbox_id: str, *, deadline: float | None = None) -> v1.RemovePodSandboxResponse:
        """Stops and deletes the sandbox with all its containers. May be repeated; a missing sandbox is a success."""
        request = v1.RemovePodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        return self._unary("RemovePodSandbox", request, v1.RemovePodSandboxResponse, deadline)

    def pod_sandbox_status(
        self, pod_sandbox_id: str, *, verbose: bool = False, deadline: float | None = None
    ) -> v1.PodSandboxStatusResponse:
        """The sandbox as it is; NOT_FOUND if there is none."""
        request = v1.PodSandboxStatusRequest(pod_sandbox_id=pod_sandbox_id, verbose=verbose)
        return self._unary("PodSandboxStatus", request, v1.PodSandboxStatusResponse, deadline)

    def list_pod_sandbox(
        self, filter: v1.PodSandboxFilter | None = None, *, deadline: float | None = None
    ) -> v1.ListPodSandboxResponse:
        """Sandboxes that match all the conditions of the filter."""
        request = v1.ListPodSandboxRequest(filter=filter)
        return self._unary("ListPodSandbox", request, v1.ListPodSandboxResponse, deadline)

    def stream_pod_sandboxes(
        self, filter: v1.PodSandboxFilter | None = None, *, deadline: float | None = None
    ) -> Iterator[v1.StreamPodSandboxesResponse]:
        """ListPodSandbox in portions, for answers larger than a gRPC message."""
        request = v1.StreamPodSandboxesRequest(filter=filter)
        return self._stream("StreamPodSandboxes", request, v1.StreamPodSandboxesResponse, deadline)

    def create_container(
        self,
        pod_sandbox_id: str,
        config: v1.ContainerConfig,
        *,
        sandbox_config: v1.PodSandboxConfig | None = None,
        deadline: float | None = None,
    ) -> v1.CreateContainerResponse:
        """Makes a container in a ready sandbox, without running its command."""
        request = v1.CreateContainerRequest(pod_sandbox_id=pod_sandbox_id, config=config, sandbox_config=sandbox_config)
        return self._unary("CreateContainer", request, v1.CreateContainerResponse, deadline)

    def start_container(self, container_id: str, *, deadline: float | None = None) -> v1.StartContainerResponse:
        """Runs the command of a created container."""
        request = v1.StartContainerRequest(container_id=container_id)
        return self._unary("StartContainer", request, v1.StartContainerResponse, deadline)

    def stop_container(
        self, container_id: str, *, timeout: int = 0, deadline: float | None = None
    ) -> v1.StopContainerResponse:
        """Sends the stop signal, waits for the grace period, then kills.

        May be repeated; a missing container is a success; a later call with a shorter grace period shortens the
        wait.
        """
        request = v1.StopContainerRequest(container_id=container_id, timeout=timeout)
        return self._unary("StopContainer", request, v1.StopContainerResponse, deadline)

    def remove_container(self, container_id: str, *, deadline: float | None = None) -> v1.RemoveContainerResponse:
        """Kills and deletes the container. May be repeated; a missing container is a success."""
        request = v1.RemoveContainerRequest(container_id=container_id)
        return self._unary("RemoveContainer", request, v1.RemoveContainerResponse, deadline)

    def list_containers(
        self, filter: v1.ContainerFilter | None = None, *, deadline: float | None = None
    ) -> v1.ListContainersResponse:
        """Containers that match all the conditions of the filter."""
        request = v1.ListContainersRequest(filter=filter)
        return self._unary("ListContainers", request, v1.ListContainersResponse, deadline)

    def stream_containers(
        self, filter: v1.ContainerFilter | None = None, *, deadline: float | None = None
    ) -> Iterator[v1.StreamContainersResponse]:
        """ListContainers in portions."""
        request = v1.StreamContainersRequest(filter=filter)
        return self._stream("StreamContainers", request, v1.StreamContainersResponse, deadline)

    def container_status(
        self, container_id: str, *, verbose: bool = False, deadline: float | None = None
    ) -> v1.ContainerStatusResponse:
        """The container as it is; NOT_FOUND if there is none."""
        request = v1.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return self._unary("ContainerStatus", request, v1.ContainerStatusResponse, deadline)

    def update_container_resources(
        self,
        container_id: str,
        *,
        linux: v1.LinuxContainerResources | None = None,
        windows: v1.WindowsContainerResources | None = None,
        annotations: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> v1.UpdateContainerResourcesResponse:
        """Changes cgroup limits of a created or running container."""
        request = v1.UpdateContainerResourcesRequest(
            container_id=container_id, linux=linux, windows=windows, annotations=annotations
        )
        return self._unary("UpdateContainerResources", request, v1.UpdateContainerResourcesResponse, deadline)

    def reopen_container_log(
        self, container_id: str, *, deadline: float | None = None
    ) -> v1.ReopenContainerLogResponse:
        """Closes the log file and opens its path anew, after a rotation. Fails if the container does not run."""
        request = v1.ReopenContainerLogRequest(container_id=container_id)
        return self._unary("ReopenContainerLog", request, v1.ReopenContainerLogResponse, deadline)

    def exec_sync(
        self, container_id: str, cmd: Iterable[str], *, timeout: int = 0, deadline: float | None = None
    ) -> v1.ExecSyncResponse:
        """Runs a command in the container and returns its output and exit code."""
        request = v1.ExecSyncRequest(container_id=container_id, cmd=cmd, timeout=timeout)
        return self._unary("ExecSync", request, v1.ExecSyncResponse, deadline)

    def exec(
        self,
        container_id: str,
        cmd: Iterable[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = False,
        stderr: bool = False,
        deadline: float | None = None,
    ) -> v1.ExecResponse:
        """Prepares a command with streams; the answer is the URL to connect to."""
        request = v1.ExecRequest(container_id=container_id, cmd=cmd, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        return self._unary("Exec", request, v1.ExecResponse, deadline)

    def attach(
        self,
        container_id: str,
        *,
        stdin: bool = False,
        tty: bool = False,
        stdout: bool = False,
        stderr: bool = False,
        deadline: float | None = None,
    ) -> v1.AttachResponse:
        """Prepares a connection to the streams of the running container; the answer is the URL to connect to."""
        request = v1.AttachRequest(container_id=container_id, stdin=stdin, tty=tty, stdout=stdout, stderr=stderr)
        return self._unary("Attach", request, v1.AttachResponse, deadline)

    def port_forward(
        self, pod_sandbox_id: str, port: Iterable[int], *, deadline: float | None = None
    ) -> v1.PortForwardResponse:
        """Prepares connections to ports of the sandbox; the answer is the URL to connect to."""
        request = v1.PortForwardRequest(pod_sandbox_id=pod_sandbox_id, port=port)
        return self._unary("PortForward", request, v1.PortForwardResponse, deadline)

    def container_stats(self, container_id: str, *, deadline: float | None = None) -> v1.ContainerStatsResponse:
        """Figures of one running container."""
        request = v1.ContainerStatsRequest(container_id=container_id)
        return self._unary("ContainerStats", request, v1.ContainerStatsResponse, deadline)

    def list_container_stats(
        self, filter: v1.ContainerStatsFilter | None = None, *, deadline: float | None = None
    ) -> v1.ListContainerStatsResponse:
        """Figures of all running containers that match the filter."""
        request = v1.ListContainerStatsRequest(filter=filter)
        return self._unary("ListContainerStats", request, v1.ListContainerStatsResponse, deadline)

    def stream_container_stats(
        self, filter: v1.ContainerStatsFilter | None = None, *, deadline: float | None = None
    ) -> Iterator[v1.StreamContainerStatsResponse]:
        """ListContainerStats in portions."""
        request = v1.StreamContainerStatsRequest(filter=filter)
        return self._stream("StreamContainerStats", request, v1.StreamContainerStatsResponse, deadline)

    def pod_sandbox_stats(self, pod_sandbox_id: str, *, deadline: float | None = None) -> v1.PodSandboxStatsResponse:
        """Figures of one sandbox and of its containers."""
        request = v1.PodSandboxStatsRequest(pod_sandbox_id=pod_sandbox_id)
        return self._unary("PodSandboxStats", request, v1.PodSandboxStatsResponse, deadline)

    def list_pod_sandbox_stats(
        self, filter: v1.PodSandboxStatsFilter | None = None, *, deadline: float | None = None
    ) -> v1.ListPodSandboxStatsResponse:
        """Figures of all ready sandboxes that match the filter."""
        request = v1.ListPodSandboxStatsRequest(filter=filter)
        return self._unary("ListPodSandboxStats", request, v1.ListPodSandboxStatsResponse, deadline)

    def stream_pod_sandbox_stats(
        self, filter: v1.PodSandboxStatsFilter | None = None, *, deadline: float | None = None
    ) -> Iterator[v1.StreamPodSandboxStatsResponse]:
        """ListPodSandboxStats in portions."""
        request = v1.StreamPodSandboxStatsRequest(filter=filter)
        return self._stream("StreamPodSandboxStats", request, v1.StreamPodSandboxStatsResponse, deadline)

    def update_runtime_config(
        self, runtime_config: v1.RuntimeConfig, *, deadline: float | None = None
    ) -> v1.UpdateRuntimeConfigResponse:
        """Tells the runtime the pod CIDR of the node."""
        request = v1.UpdateRuntimeConfigRequest(runtime_config=runtime_config)
        return self._unary("UpdateRuntimeConfig", request, v1.UpdateRuntimeConfigResponse, deadline)

    def status(self, verbose: bool = False, *, deadline: float | None = None) -> v1.StatusResponse:
        """Readiness of the runtime and of the network, handlers and features."""
        request = v1.StatusRequest(verbose=verbose)
        return self._unary("Status", request, v1.StatusResponse, deadline)

    def checkpoint_container(
        self, container_id: str, location: str, *, timeout: int = 0, deadline: float | None = None
    ) -> v1.CheckpointContainerResponse:
        """Writes a running container into an archive; the container runs on."""
        request = v1.CheckpointContainerRequest(container_id=container_id, location=location, timeout=timeout)
        return self._unary("CheckpointContainer", request, v1.CheckpointContainerResponse, deadline)

    def checkpoint_pod(
        self,
        pod_sandbox_id: str,
        output_path: str,
        *,
        container_ids: Iterable[str] = (),
        options: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> v1.CheckpointPodResponse:
        """Writes running containers of a sandbox into a directory.

        All are paused before the first is written, until the last is; they run on whatever the outcome. The
        caller sets a deadline.
        """
        request = v1.CheckpointPodRequest(
            pod_sandbox_id=pod_sandbox_id, output_path=output_path, container_ids=container_ids, options=options
        )
        return self._unary("CheckpointPod", request, v1.CheckpointPodResponse, deadline)

    def restore_pod(
        self,
        checkpoint_path: str,
        config: v1.PodSandboxConfig,
        *,
        runtime_handler: str = "",
        options: Mapping[str, str] | None = None,
        container_configs: Iterable[v1.ContainerConfig] = (),
        deadline: float | None = None,
    ) -> v1.RestorePodResponse:
        """Makes a sandbox and its containers from such a directory.

        They are CREATED, and what they were doing goes on when they are started. If it fails nothing is left.
        The caller sets a deadline.
        """
        request = v1.RestorePodRequest(
            checkpoint_path=checkpoint_path,
            config=config,
            runtime_handler=runtime_handler,
            options=options,
            container_configs=container_configs,
        )
        return self._unary("RestorePod", request, v1.RestorePodResponse, deadline)

    def get_container_events(self, *, deadline: float | None = None) -> Iterator[v1.ContainerEventResponse]:
        """A stream of what happens to containers and sandboxes, each event after the state is visible in lists and
        statuses.
        """
        request = v1.GetEventsRequest()
        return self._stream("GetContainerEvents", request, v1.ContainerEventResponse, deadline)

    def list_metric_descriptors(self, *, deadline: float | None = None) -> v1.ListMetricDescriptorsResponse:
        """Names and labels of the metrics that ListPodSandboxMetrics gives."""
        request = v1.ListMetricDescriptorsRequest()
        return self._unary("ListMetricDescriptors", request, v1.ListMetricDescriptorsResponse, deadline)

    def list_pod_sandbox_metrics(self, *, deadline: float | None = None) -> v1.ListPodSandboxMetricsResponse:
        """Metrics of all sandboxes and their containers."""
        request = v1.ListPodSandboxMetricsRequest()
        return self._unary("ListPodSandboxMetrics", request, v1.ListPodSandboxMetricsResponse, deadline)

    def stream_pod_sandbox_metrics(
        self, *, deadline: float | None = None
    ) -> Iterator[v1.StreamPodSandboxMetricsResponse]:
        """ListPodSandboxMetrics in portions."""
        request = v1.StreamPodSandboxMetricsRequest()
        return self._stream("StreamPodSandboxMetrics", request, v1.StreamPodSandboxMetricsResponse, deadline)

    def runtime_config(self, *, deadline: float | None = None) -> v1.RuntimeConfigResponse:
        """What the kubelet must know to configure itself: the cgroup driver."""
        request = v1.RuntimeConfigRequest()
        return self._unary("RuntimeConfig", request, v1.RuntimeConfigResponse, deadline)

    def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        *,
        overhead: v1.LinuxContainerResources | None = None,
        resources: v1.LinuxContainerResources | None = None,
        deadline: float | None = None,
    ) -> v1.UpdatePodSandboxResourcesResponse:
        """Tells the runtime the new sums of resources of a pod, before the containers are updated."""
        request = v1.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=pod_sandbox_id, overhead=overhead, resources=resources
        )
        return self._unary("UpdatePodSandboxResources", request, v1.UpdatePodSandboxResourcesResponse, deadline)

    def list_images(
        self, filter: v1.ImageFilter | None = None, *, deadline: float | None = None
    ) -> v1.ListImagesResponse:
        """Images on the node that match the filter."""
        request = v1.ListImagesRequest(filter=filter)
        return self._unary("ListImages", request, v1.ListImagesResponse, deadline)

    def stream_images(
        self, filter: v1.ImageFilter | None = None, *, deadline: float | None = None
    ) -> Iterator[v1.StreamImagesResponse]:
        """ListImages in portions."""
        request = v1.StreamImagesRequest(filter=filter)
        return self._stream("StreamImages", request, v1.StreamImagesResponse, deadline)

    def image_status(
        self, image: str | v1.ImageSpec, *, verbose: bool = False, deadline: float | None = None
    ) -> v1.ImageStatusResponse:
        """The image, or an answer without image if it is not on the node."""
        request = v1.ImageStatusRequest(
            image=v1.ImageSpec(image=image) if isinstance(image, str) else image, verbose=verbose
        )
        return self._unary("ImageStatus", request, v1.ImageStatusResponse, deadline)

    def pull_image(
        self,
        image: str | v1.ImageSpec,
        *,
        auth: v1.AuthConfig | None = None,
        sandbox_config: v1.PodSandboxConfig | None = None,
        deadline: float | None = None,
    ) -> v1.PullImageResponse:
        """Brings an image to the node."""
        request = v1.PullImageRequest(
            image=v1.ImageSpec(image=image) if isinstance(image, str) else image,
            auth=auth,
            sandbox_config=sandbox_config,
        )
        return self._unary("PullImage", request, v1.PullImageResponse, deadline)

    def remove_image(self, image: str | v1.ImageSpec, *, deadline: float | None = None) -> v1.RemoveImageResponse:
        """Deletes an image with all its names. May be repeated; a missing image is a success."""
        request = v1.RemoveImageRequest(image=v1.ImageSpec(image=image) if isinstance(image, str) else image)
        return self._unary("RemoveImage", request, v1.RemoveImageResponse, deadline)

    def image_fs_info(self, *, deadline: float | None = None) -> v1.ImageFsInfoResponse:
        """How much disk the images and the containers use."""
        request = v1.ImageFsInfoRequest()
        return self._unary("ImageFsInfo", request, v1.ImageFsInfoResponse, deadline)
