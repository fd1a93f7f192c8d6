"""An embedding server of our own on loopback: letters counted, so equal texts have equal vectors anywhere."""

import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def vector_of(text):
    made = [float(text.lower().count(one)) for one in "aeioumnrst"]
    return [*made, 1.0]


@contextmanager
def letters(seconds=0.0):
    """The name of an encoder, and the texts it was asked for. seconds: how long an answer takes."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            time.sleep(seconds)
            asked.extend(texts)
            data = [{"object": "embedding", "index": i, "embedding": vector_of(one)} for i, one in enumerate(texts)]
            sent = json.dumps({"object": "list", "model": "letters", "data": data,
                               "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            with suppress(ConnectionError):  # who asked may have been killed
                self.wfile.write(sent)

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"openai:http://127.0.0.1:{server.server_address[1]}/v1#letters", asked
    finally:
        server.shutdown()
        server.server_close()
