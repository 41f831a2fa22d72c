"""A receiver of webhooks for tests."""

import contextlib
import http.server
import threading


class Receiver:
    """An HTTP server on loopback that keeps what it gets and answers with these statuses, the last of them for ever."""

    def __init__(self, *statuses, headers=(), context=None):
        self.got = []
        self.go = threading.Event()
        self.go.set()
        left = list(statuses) or [204]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.got.append((handler.path, dict(handler.headers), body))
                self.go.wait(30)
                handler.send_response(left.pop(0) if len(left) > 1 else left[0])
                for header in headers:
                    handler.send_header(*header)
                with contextlib.suppress(OSError):
                    handler.end_headers()

            def log_message(handler, *arguments):  # noqa: N805
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/done?token=1"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
