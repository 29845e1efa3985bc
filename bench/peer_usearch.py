"""The side of usearch, as its wheel is built: NAME FOLDER DIMENSIONS COUNT, and then as
bench/vector_side.h says. bf16 is the fastest of its kinds that reaches the recall. It gets all
questions in one call, so that Python costs it nothing."""
import os
import sys
import time

import numpy
from usearch.index import Index

K, M, EF_CONSTRUCTION = 10, 16, 200
LEAST_SECONDS = 0.5


def load(name, kind, columns):
    return numpy.fromfile(os.path.join(sys.argv[1], name), dtype=kind).reshape(-1, columns)


def measure(index, queries, truth):
    begin, searches = time.process_time(), 0
    while searches == 0 or time.process_time() - begin < LEAST_SECONDS:
        found = index.search(queries, K, threads=1).keys
        searches += len(queries)
    rate = searches / (time.process_time() - begin)
    same = sum(len(numpy.intersect1d(one, two)) for one, two in zip(found, truth))
    return rate, same / truth.size


def main():
    dimensions, count = int(sys.argv[2]), int(sys.argv[3])
    base, queries = (load(name, numpy.float32, dimensions)
                     for name in ('base.f32', 'queries.f32'))
    begin = time.process_time()
    index = Index(ndim=dimensions, metric='ip', dtype='bf16', connectivity=M,
                  expansion_add=EF_CONSTRUCTION)
    index.add(numpy.arange(count), base[:count], threads=1)
    print(time.process_time() - begin, index.memory_usage, flush=True)
    for line in sys.stdin:
        ef, permille = line.split()
        index.expansion_search = int(ef)
        truth = load('truth-%d-%s.u32' % (count, permille), numpy.uint32, K)
        print(*measure(index, queries, truth), 0, flush=True)


main()
