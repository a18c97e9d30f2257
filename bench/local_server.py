"""The platform for sending benches: a bare uvloop server that answers every POST with {"errcode":0}.

python -m bench.local_server PORT
"""

import asyncio
import sys

import uvloop

BODY = b'{"errcode":0,"errmsg":"ok","msgid":1,"access_token":"bench","expires_in":7200}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; encoding=utf-8\r\nContent-Length: %d\r\n\r\n"
    % len(BODY)
    + BODY
)


class Platform(asyncio.Protocol):
    """Keep-alive HTTP/1.1 with Content-Length bodies; enough for the clients of the benches."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Platform, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
