"""moto_server, with one request at a time.

By itself it looks at a condition and then writes, and now and then lets two threads win; and it shows an object before
the object has its metadata.
"""

import io
import threading

import moto.server

run_simple = moto.server.run_simple


def run_alone(host, port, app, **options):
    lock = threading.Lock()

    def alone(environ, start_response):
        # the body first: a slow client must not hold the others up
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        body = environ["wsgi.input"].read(*([] if chunked else [int(environ.get("CONTENT_LENGTH") or 0)]))
        environ["wsgi.input"] = io.BytesIO(body)
        with lock:
            return [b"".join(app(environ, start_response))]

    run_simple(host, port, alone, **options)


moto.server.run_simple = run_alone
moto.server.main()
