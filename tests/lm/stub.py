"""A small real OpenAI-compatible server; the model name says how it behaves."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hanging import LONG

ODDS = [("Yes", -0.5), (" Yes", -2.0), ("No", -1.5), ("Maybe", -3.0)]


class Stub(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.asked.append((self.path, body, self.headers.get("authorization")))
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            self.answer(body)
        finally:
            with server.lock:
                server.running -= 1

    def answer(self, body):
        name = body["model"]
        if name.isdecimal():
            return self.send(int(name), {"error": {"message": f"status {name}"}}, {"Retry-After": "3"})
        if name == "date":
            return self.send(
                429, {}, {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))}
            )
        if name == "absurd":
            return self.send(429, {}, {"Retry-After": "1e308"})
        if name in RAW:
            return self.raw(RAW[name])
        if name == "hang":
            self.server.outlasted += not self.server.stop.wait(LONG)
        if name == "drip":
            return self.drip()
        if name == "flood":
            return self.raw(b" " * 20_000_000)
        if name == "reset":
            return self.connection.shutdown(socket.SHUT_RDWR)
        if name == "cut":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
            return None
        if name == "slow":
            time.sleep(0.1)
        if self.path.partition("?")[0].endswith("/embeddings"):
            return self.send(200, self.embeddings(body))
        return self.stream(body) if body.get("stream") else self.send(200, self.completion(body))

    def completion(self, body):
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        said, finish = f"echo {text}", "stop"
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        if schema and body["model"] != "rebel":
            said = json.dumps(
                {key: part.get("enum", ["word"])[0] for key, part in schema["properties"].items()}, ensure_ascii=False
            )
        if "guided_choice" in body:
            said = body["guided_choice"][-1]
        message = {"role": "assistant", "content": said}
        if body["model"] == "prude":
            message = {"role": "assistant", "content": None, "refusal": "I will not."}
        if body["model"] == "filter":
            finish = "content_filter"
        if body["max_tokens"] < 3:
            finish = "length"
        choice = {"index": 0, "finish_reason": finish, "message": message}
        if "prompt" in body:
            choice = {"index": 0, "finish_reason": finish, "text": said}
        if body.get("logprobs") and body["model"] != "mute":
            top = [{"token": t, "logprob": p} for t, p in ODDS]
            old = {"top_logprobs": [dict(ODDS)]}
            choice["logprobs"] = old if "prompt" in body else {"content": [{"token": "Yes", "top_logprobs": top}]}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
        return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage, "model": body["model"]}

    def embeddings(self, body):
        data = [{"index": n, "embedding": [float(len(text)), 1.0, 0.0]} for n, text in enumerate(body["input"])]
        if body["model"] == "short":
            data = data[:-1]
        return {"data": data[::-1], "usage": {"prompt_tokens": len(data)}}

    def stream(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for piece in ("one ", "two ", "three"):
            chunk = {
                "id": "x",
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": piece}}],
            }
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            if body["model"] == "choke":
                self.wfile.write(b"data: {broken\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def drip(self):
        self.send_response(200)
        self.send_header("content-length", "10000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(int(LONG / 0.05)):
                self.wfile.write(b" ")
                self.wfile.flush()
                if self.server.stop.wait(0.05):
                    return
            self.server.outlasted += 1

    def send(self, status, value, headers=None):
        self.raw(json.dumps(value).encode(), status, headers)

    def raw(self, body, status=200, headers=None):
        self.send_response(status)
        for key, text in {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(key, text)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


RAW = {
    "empty": b"",
    "html": b"<html>Bad Gateway</html>",
    "half": b'{"choices": [{"message": {"con',
    "latin": b'{"choices": [{"message": {"content": "\xe9"}}]}',
    "list": b"[1, 2]",
    "nochoices": b'{"choices": []}',
    "oddchoices": b'{"choices": [3]}',
    "nocontent": b'{"choices": [{"message": {"content": null}}]}',
    "errorbody": b'{"error": {"message": "overloaded"}}',
    "nan": b'{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"top_logprobs": '
    b'[{"token": "Yes", "logprob": NaN}]}]}}]}',
    "surrogate": b'{"choices": [{"message": {"content": "a\\ud800b"}}], "usage": {"prompt_tokens": "many"}}',
}


@contextlib.contextmanager
def serving():
    """A running server with `url`, `asked`, `most` (requests at once), `outlasted` (hangs and drips to their end) and
    `stop`."""
    server = Stub(("127.0.0.1", 0), Handler)
    server.asked, server.running, server.most, server.outlasted = [], 0, 0, 0
    server.lock, server.stop = threading.Lock(), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
