"""Vectors through the store: durable writes, searches beside writes, a million of them."""
import os
import subprocess

from lib import harness, vectors
from lib.harness import call, program

BESIDE = 2000  # records a second, of one writer
INSERT = '{"operations":[{"op":"put","domain":"items","row":{"v":{"$bytes":"%s"}}}]}'


def write(found, folder, rounds, seconds):
    """records with a vector of 100 numbers: one a transaction, many, and beside searches"""
    data = vectors.few(vectors.words(), 100, 100000)
    turns = iter(range(10**6))

    def place():
        return os.path.join(folder, 'write-%d' % next(turns))

    def single(threads):
        return lambda _: call([program('vector-write'), 'single', threads, seconds, place(),
                               *data])[0]

    one, many, http = harness.alternate(rounds, single(1), single(64),
                                        lambda _: over_http(place(), data, seconds))
    found.add('vector-write.single.1', one)
    found.add('vector-write.single.64', many, least=20000)
    found.add('vector-write.single.64.http', http)
    bulk(found, rounds, data, place)
    alone, beside, rate = [], [], []
    for _ in range(rounds):
        _, idle, _, busy, reached = call([program('vector-write'), 'beside', BESIDE, seconds,
                                          place(), *data])
        alone.append(idle)
        beside.append(busy)
        rate.append(reached)
    found.note('one searcher alone, and beside a writer of %.0f records a second'
               % harness.middle(rate))
    found.add('vector-write.beside.p99.us', harness.middle(beside), harness.middle(alone), most=2)


def bulk(found, rounds, data, place):
    """Acknowledged and linked, against linking alone: the engine on one cpu."""
    engine = vectors.Side('ours', [program('vector')], data, os.path.dirname(place()))
    engine.close()
    written, linked = [], []
    for _ in range(rounds):
        pair = call([program('vector-write'), 'bulk', 600, place(), *data])
        written.append(pair[0])
        linked.append(pair[1])
    built = data[2] / engine.build_seconds
    found.add('vector-write.bulk', harness.middle(written), built, least=1)
    found.add('vector-write.bulk.linked', harness.middle(linked), built)


def over_http(folder, data, seconds):
    """64 connections; the number of one is four digits of its vector."""
    with open(os.path.join(data[0], 'base.f32'), 'rb') as file:
        numbers = file.read(4 * data[1]).hex()
    with vectors.items_daemon(folder, data[1]) as daemon:
        request = os.path.join(folder, 'insert.http')
        text = daemon.request_text('POST', '/v1/transactions', INSERT % ('####' + numbers[4:]))
        with open(request, 'w') as file:
            file.write(text)
        return call([program('http'), 64, seconds, daemon.port, request])[0]


def million(found, folder, rounds, seconds):
    """1,000,000 made-up vectors of 1,536 dimensions in clusters, their originals on disk only"""
    del rounds, seconds
    dimensions, count = vectors.few(None, 1536, 1000000)[1:]
    threads = os.cpu_count()
    with subprocess.Popen([program('vector-million'), folder, str(dimensions), str(count), '100',
                           str(threads)], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        def answer():
            words = process.stdout.readline().split()
            if len(words) != 3:
                raise SystemExit('vector-million failed')
            return [float(word) for word in words]

        harness.progress('makes up %d vectors and links them' % count)
        built, memory, own = answer()
        found.note('%d synthetic vectors of %d dimensions, m 16, ef_construction 64, 100 queries'
                   % (count, dimensions))
        found.add('vector-million.build.per.s', count / built)
        found.add('vector-million.build.s', built)
        found.add('vector-million.bytes', memory / count, 4 * dimensions)
        found.add('vector-million.process.mib', own)
        for ef in (40, 64, 100, 200, 400, 800):
            process.stdin.write('%d\n' % ef)
            process.stdin.flush()
            rate, recall, _ = answer()
            found.add('vector-million.ef.%d.recall' % ef, recall)
            found.add('vector-million.ef.%d.per.s' % ef, rate)
            if recall >= 0.98:
                break
        process.stdin.close()
