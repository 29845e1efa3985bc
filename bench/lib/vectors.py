"""The vector index against others: data, truth, and the sides that answer in turns."""
import array
import contextlib
import hashlib
import math
import os
import random
import subprocess
import sys

from lib import harness
from lib.daemon import Daemon

sys.path.insert(1, os.path.join(harness.ROOT, 'tools', 'lib'))

import glove  # noqa: E402
import kept  # noqa: E402

EFS = (10, 12, 16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800)
ALL = 1000  # permille: no filter
EXACT = 2**32 - 1  # as a width
RECALL = 0.95
USEARCH = 'usearch==2.25.3'
SQLITE_VEC = 'sqlite-vec-linux-x64@0.1.9'
HNSWLIB = 'hnswlib-node@3.0.0'  # its sources: hnswlib 0.8


ITEMS = """limits: {rate_per_tenant: 0}
migrations: %s
domains:
  items:
    table: items
    tenant: none
    vector: {field: v, dimensions: %d, m: 16, ef_construction: 200}
"""
MOST = None  # of vectors: bench/run --vectors


# --- data ---

def few(folder, dimensions, count):
    """What a side is told: the first COUNT of a set, or as many as are wanted at most."""
    return folder, dimensions, min(count, MOST or count)


def unit(numbers):
    length = math.sqrt(math.fsum(x * x for x in numbers))
    return array.array('f', (x / length for x in numbers)) if length > 0 else None


def words():
    """341,479 words of GloVe, 100 dimensions: a thousand are asked for, the rest is searched.
    Different words may have the same vector: each is there once."""
    def make(path):
        units = (unit(numbers) for _, numbers in glove.fetched(path))
        vectors = list(dict.fromkeys(one.tobytes() for one in units if one is not None))
        random.Random(20240229).shuffle(vectors)
        for name, part in (('queries.f32', vectors[:1000]), ('base.f32', vectors[1000:])):
            with open(os.path.join(path, name), 'wb') as file:
                file.write(b''.join(part))
    return kept.once('vectors-glove', glove.PACKAGE, make)


def clusters(dimensions, count):
    return kept.once('vectors-clusters', '%d-%d-%s' % (dimensions, count, version()),
                     lambda path: made('clusters', path, dimensions, count, 1000))


def made(*words):
    kept.run([harness.program('vector-data'), *map(str, words)])


def version():
    """Of what makes them up."""
    with open(os.path.join(harness.ROOT, 'bench', 'vector_made.c'), 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()[:8]


def truth(folder, dimensions, count, permille):
    if not os.path.exists(os.path.join(folder, 'truth-%d-%d.u32' % (count, permille))):
        harness.progress('comparing all with all: %d vectors, %d of a thousand'
                         % (count, permille))
        made('truth', folder, dimensions, count, permille)


# --- sides ---

def compiled(name, *words):
    """A peer in C++, with the instructions of this processor."""
    program = os.path.join(harness.BUILD, 'bench', 'bench-' + name)
    here = os.path.join(harness.ROOT, 'bench')
    kept.run(['gcc', '-O3', '-c', os.path.join(here, 'vector_side.c'), '-o', program + '-side.o'])
    kept.run(['g++', '-O3', '-march=native', '-std=c++17', '-w', '-I' + here,
              os.path.join(here, name.replace('-', '_') + '.cpp'), program + '-side.o',
              '-o', program, *words])
    return [program]


def hnswlib():
    return compiled('peer-hnswlib', '-I' + os.path.join(kept.npm(HNSWLIB), 'src'))


def faiss():
    return compiled('peer-faiss', '-fopenmp', '-lfaiss', '-lblas', '-llapack')


def usearch():
    return [kept.python(USEARCH), os.path.join(harness.ROOT, 'bench', 'peer_usearch.py')]


def sqlite_vec():
    os.environ['SQLITE_VEC'] = os.path.join(kept.npm(SQLITE_VEC), 'vec0.so')
    return [harness.program('peer-sqlite-vec')]


def served(server, program):
    """By a server of the tests; on the same cpu as its client, for the way between two costs it more
    than a search that is spread over both gains."""
    return [os.path.join(harness.ROOT, 'tests', 'servers', 'with'), server, '--',
            harness.program(program)]


def pgvector():
    """0.8 in PostgreSQL 18."""
    return served('postgresql18,own,shared_buffers=1GB', 'peer-pgvector')


def weaviate():
    """1.35, through gRPC."""
    return served('weaviate', 'peer-weaviate')


def redis():
    """8, in its own protocol."""
    return served('redis8', 'peer-redis')


PEERS = {'hnswlib': hnswlib, 'faiss': faiss, 'usearch': usearch, 'sqlite-vec': sqlite_vec,
         'pgvector': pgvector, 'weaviate': weaviate, 'redis': redis}
SKIPPED = 77  # what tests/servers/with ends with when a server cannot be had


class Side:
    """A program of bench/vector_side.h, on one cpu, with its index built."""

    def __init__(self, name, command, data, scratch):
        self.name, self.data = name, data
        harness.progress('%s builds an index of %d vectors' % (name, data[2]))
        self.process = subprocess.Popen(
            ['taskset', '-c', '1'] + command + [str(word) for word in data] + [scratch],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.build_seconds, self.bytes = self.answer(2)

    def answer(self, count):
        words = self.process.stdout.readline().split()
        if words[:1] == ['skipped:'] or (not words and self.process.wait() == SKIPPED):
            raise RuntimeError(' '.join(words[1:]))
        if len(words) != count:
            raise SystemExit('%s failed' % self.name)
        return [float(word) for word in words]

    def ask(self, ef, permille=ALL):
        """Searches a second, recall, distances of one search."""
        truth(*self.data, permille)
        self.process.stdin.write('%d %d\n' % (ef, permille))
        self.process.stdin.flush()
        return self.answer(3)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def around(self, permille=ALL):
        """The two widths of search between which the recall is RECALL; one where the least is
        enough already; none where the greatest is not."""
        before = None
        for ef in EFS:
            if self.ask(ef, permille)[1] >= RECALL:
                return (ef,) if before is None else (before, ef)
            before = ef
        return ()

    def rate(self, widths, permille=ALL):
        """Searches a second at that recall, between the two on a line through their logarithms."""
        (low, under), (high, over) = [self.ask(ef, permille)[:2]
                                      for ef in (widths[0], widths[-1])]
        if over <= under:
            return high
        part = min(max((RECALL - under) / (over - under), 0), 1)
        return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))


@contextlib.contextmanager
def opened(found, names, data, scratch):
    """Ours first, then what can be had of the others."""
    with contextlib.ExitStack() as sides:
        def side(name, command):
            made.append(Side(name, command, data, scratch))
            sides.callback(made[-1].close)
        made = []
        side('ours', [harness.program('vector')])
        for name in names:
            try:
                side(name, PEERS[name]())
            except kept.Unavailable as why:
                found.note(str(why))
            except RuntimeError as why:
                found.note('skipped: %s (%s)' % (name, why))
        yield made


@contextlib.contextmanager
def ours_over_http(data, scratch):
    """A daemon, and its client; both on the cpu of all sides."""
    with items_daemon(os.path.join(scratch, 'http'), data[1], cpu=1) as daemon:
        os.environ['POLY_BENCH_DAEMON'] = '%d %s' % (daemon.port, daemon.key())
        side = Side('http', [harness.program('vector-http')], data, scratch)
        try:
            yield side
        finally:
            side.close()


def items_daemon(folder, dimensions, cpu=None):
    """With the empty domain `items`, whose records have a vector."""
    migrations = os.path.join(folder, 'migrations')
    os.makedirs(migrations)
    with open(os.path.join(migrations, '0001_items.sql'), 'w') as file:
        file.write('CREATE TABLE items(id INTEGER PRIMARY KEY, v BLOB);')
    daemon = Daemon(folder, ITEMS % (migrations, dimensions), cpu=cpu)
    daemon.at_start = [('POST', '/v1/migrations')]
    return daemon


# --- figures ---

def rates(found, name, sides, rounds, permille=ALL):
    """Searches a second of each at the same recall, in turns; by the names of those that reach it.
    The first one has to."""
    able = []
    for side in sides:
        widths = side.around(permille)
        if widths:
            able.append((side, widths))
        elif side is sides[0]:
            raise SystemExit('%s: our own recall is too low' % name)
        else:
            found.note('%s: %s does not reach a recall of %g' % (name, side.name, RECALL))
    measured = harness.alternate(rounds, *[
        lambda _, side=side, widths=widths: side.rate(widths, permille) for side, widths in able])
    return {side.name: rate for (side, _), rate in zip(able, measured)}


def compare(found, name, sides, rounds, goals, permille=ALL):
    """A line for each peer."""
    measured = rates(found, name, sides, rounds, permille)
    for peer in list(measured)[1:]:
        found.add('%s.%s' % (name, peer), measured['ours'], measured[peer], least=goals.get(peer))


def exact(found, name, sides, rounds, goals):
    """All vectors looked at, by both: the answers are the truth."""
    rates = []
    for side in sides:
        if side.ask(EXACT)[1] < 0.9999:
            raise SystemExit('%s: %s is not exact' % (name, side.name))
    rates = harness.alternate(rounds, *[lambda _, side=side: side.ask(EXACT)[0]
                                        for side in sides])
    for side, rate in zip(sides[1:], rates[1:]):
        found.add('%s.exact.%s' % (name, side.name), rates[0], rate, least=goals[side.name])


def building(found, name, sides, goals):
    ours, data = sides[0], sides[0].data
    for side in sides[1:]:
        found.add('%s.build.%s' % (name, side.name), data[2] / ours.build_seconds,
                  data[2] / side.build_seconds, least=goals.get(side.name))
        if side.name == 'hnswlib':
            found.add('%s.bytes.hnswlib' % name, ours.bytes / data[2], side.bytes / data[2],
                      most=0.75)
            found.add('%s.bytes.with.vectors' % name, ours.bytes / data[2] + 4 * data[1],
                      side.bytes / data[2])


def row(dimensions):
    """Bytes of what a walk compares of each vector: a sketch, a code of four bits, one of eight."""
    if 53 <= dimensions <= 104:
        return 64
    short = 512 <= dimensions <= 4096
    return math.ceil((math.ceil(dimensions / (2 if short else 1)) + 12) / 32) * 32


def limit(found, name, ours):
    """How near a search is to the time that memory needs for the rows compared."""
    rate, _, visited = ours.ask(ours.around()[-1])
    size = row(ours.data[1])
    nanoseconds, = harness.call([harness.program('vector-data'), 'row',
                                 ours.data[2] * size, size], cpu=1)
    found.add(name + '.limit', rate, 1e9 / (visited * nanoseconds))


def graphs(found, name, data, scratch, rounds, goals):
    """Approximate search on (folder, dimensions, count). goals: of search, build, filter."""
    with opened(found, goals['search'], data, scratch) as sides:
        building(found, name, sides, goals['build'])
        compare(found, name, sides, rounds, goals['search'])
        limit(found, name, sides[0])
        for permille, least in goals.get('filter', {}).items():
            compare(found, '%s.filter.%g' % (name, permille / 10),
                    [side for side in sides if side.name in ('ours', 'hnswlib')], rounds,
                    {'hnswlib': least}, permille)


def scans(found, name, data, scratch, rounds, goals):
    with opened(found, goals, data, scratch) as sides:
        exact(found, name, sides, rounds, goals)


def vector(found, folder, rounds, seconds):
    """100,000 vectors of 100 dimensions: searches at a recall of 0.95, build, bytes, filters, exact"""
    del seconds
    data = few(words(), 100, 100000)
    graphs(found, 'vector', data, folder, rounds,
           {'search': {'hnswlib': 4, 'faiss': 5, 'usearch': 5}, 'build': {'hnswlib': 2},
            'filter': {10: 100, 100: 10, 500: 2}})
    scans(found, 'vector', data, folder, rounds, {'sqlite-vec': 30})


def vector_large(found, folder, rounds, seconds):
    """the same with 340,479 vectors, which no cache holds"""
    del seconds
    graphs(found, 'vector-large', few(words(), 100, 340479), folder, rounds,
           {'search': {'hnswlib': 4}, 'build': {'hnswlib': 2}})


def vector_servers(found, folder, rounds, seconds):
    """the same against what answers over a socket: pgvector, Weaviate, Redis; we in process and
    through HTTP"""
    del seconds
    name, data = 'vector-servers', few(words(), 100, 100000)
    with ours_over_http(data, folder) as http, \
            opened(found, ('pgvector', 'weaviate', 'redis'), data, folder) as sides:
        building(found, name, sides, {'pgvector': 10, 'weaviate': 5})
        building(found, name + '.http', [http] + sides[1:], {})
        measured = rates(found, name, [sides[0], http] + sides[1:], rounds)
        for prefix, ours, goals in (
                (name, 'ours', {'pgvector': 20, 'weaviate': 20, 'redis': 20}),
                (name + '.http', 'http', {'pgvector': 8, 'weaviate': 5})):
            for peer in [peer for peer in measured if peer not in ('ours', 'http')]:
                found.add('%s.%s' % (prefix, peer), measured[ours], measured[peer],
                          least=goals.get(peer))


def vector_wide(found, folder, rounds, seconds):
    """the same with 50,000 made-up vectors of 768 and 1,536 dimensions, in clusters"""
    del seconds
    for dimensions in (768, 1536):
        data = few(None, dimensions, 50000)
        graphs(found, 'vector-wide.%d' % dimensions,
               (clusters(*data[1:]), *data[1:]), folder, rounds,
               {'search': {'hnswlib': 3}, 'build': {'hnswlib': 2}})


def vector_pgvector(found, folder, rounds, seconds):
    """searches in the records' own table by pgvector, against libpq with the same statement"""
    command = [os.path.join(harness.ROOT, 'tests', 'servers', 'with'),
               'postgresql18,own,shared_buffers=256MB', '--', harness.program('vector-pgvector'),
               os.path.join(folder, 'data')]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask():
        process.stdin.write('%d\n' % (2 * seconds))
        process.stdin.flush()
        return [float(word) for word in process.stdout.readline().split()]

    line = process.stdout.readline()
    if line.startswith('skipped:'):
        found.note(line.strip())
        return
    if not line.strip():
        raise SystemExit('bench-vector-pgvector failed')
    ours, peer = map(harness.middle, zip(*[ask() for _ in range(4 * rounds)]))
    found.add('vector-pgvector.search', ours, peer, least=0.98)
    process.stdin.close()
    process.wait()
