"""A small session backend: answers each request with what it knows of itself and of the user. Standard library only."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(
            {
                "backend": os.environ["SESSION_BACKEND_ID"],
                "key": os.environ["SESSION_BACKEND_KEY"],
                "user": self.headers.get("x-verified-username"),
                "path": self.path,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # How the platform asks whether the backend is ready.
    do_HEAD = do_GET


def main() -> None:
    # Asked to end: exit code 0 says that all went well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["PORT"])
    print(f"listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
