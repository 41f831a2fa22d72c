"""LitServe with one worker, as its documentation shows it; batches of up to 16 for the fake network.

``python -m bench.peer_litserve PORT NETWORK SIDE MEDIA_TYPE``. A module of its own: LitServe pickles the class.
"""

import sys
from typing import Any

import litserve
from fastapi import Request, Response

from bench.peer_servers import Picture, decoded, encoded, network


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Decodes, runs the network and encodes in LitServe's worker process."""

    def __init__(self, name: str, side: int, media_type: str, **options: Any) -> None:
        super().__init__(api_path="/translate", **options)
        self.name, self.side, self.media_type = name, side, media_type

    def setup(self, device: str) -> None:
        self.network = network(self.name)

    def decode_request(self, request: Request) -> Picture:
        return decoded(request["image"].file.read(), self.side)  # type: ignore[index]

    def predict(self, x: Any) -> Any:
        return self.network([x])[0]

    def encode_response(self, output: Picture) -> Response:
        return Response(encoded(output, self.media_type), media_type=self.media_type)


class BatchedApi(Api):
    def predict(self, x: Any) -> Any:
        return self.network(x)

    def batch(self, inputs: Any) -> Any:
        return inputs

    def unbatch(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    port, name, side, media_type = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if name == "fake":
        api = BatchedApi(name, side, media_type, max_batch_size=16, batch_timeout=0.005)
    else:
        api = Api(name, side, media_type)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=port, host="127.0.0.1", log_level="warning", generate_client_file=False)
