"""polystore vector: search, add, import of every format, and files that are broken; docs/vectors.md word
for word. S3-39, S3-47"""
import json
import os
import re
import socket
import struct
import subprocess

import pytest

from cli_fixtures import POLYSTORE, ROOT, Folder, without_what_differs

CONFIG = """\
data: data
migrations: migrations
domains:
  items:
    table: items
    tenant: none
    search: {fields: [title]}
    vector: {field: embedding, dimensions: 2, filters: [kind]}
"""
MIGRATION = 'CREATE TABLE items(id TEXT PRIMARY KEY, title TEXT, kind TEXT, n INTEGER, embedding BLOB);'
LINES = '{"key":"a","vector":[1,0],"title":"first","kind":"x"}\n' \
        '{"key":"b","vector":[0.8,0.6],"title":"second","kind":"y"}\n' \
        '{"key":"c","vector":[0,1],"title":"third","kind":"x"}\n'


@pytest.fixture(params=['direct', 'daemon'])
def items(request, tmp_path):
    folder = Folder(tmp_path)
    os.makedirs(os.path.join(folder.path, 'migrations'))
    folder.file('polystore.yaml', CONFIG)
    folder.file('migrations/0001_items.sql', MIGRATION)
    folder.good('migrate', 'up')
    folder.good('vector', 'import', 'items', folder.file('items.jsonl', LINES))
    if request.param == 'daemon':
        folder.start()
    yield folder
    folder.stop()


def binary(folder, name, data):
    with open(os.path.join(folder.path, name), 'wb') as file:
        file.write(data)
    return name


def fvecs(*vectors):
    return b''.join(struct.pack('<I%df' % len(v), len(v), *v) for v in vectors)


def npy(shape, body, descr='<f4', order=False):
    head = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)
    head = head.ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head.encode() + body


def vector_of(folder, key):
    return folder.json('get', 'items', key)['row']['embedding']


def count(folder):
    return folder.json('sql', 'SELECT count(*) AS n FROM items')['rows'][0]['n']


def found(folder, *words):
    answer = folder.json('vector', 'search', 'items', *words)
    return [match['key'] for match in answer['matches']]


# --- search ---

def test_search(items):
    text = items.good('vector', 'search', 'items', '--like', 'a', '--show', 'title', '--show', 'n')
    assert text == 'SIMILARITY  DOMAIN  KEY  title   n\n0.8000      items   b    second\n' \
                   '0.0000      items   c    third\n'
    assert found(items, '--vector', '[0, 1]', '--limit', '2') == ['c', 'b']
    assert found(items, '--vector', '[1, 0]', '--threshold', '0.7') == ['a', 'b']
    assert found(items, '--vector', '[1, 0]', '--offset', '1', '--exact') == ['b', 'c']
    explained = items.good('vector', 'search', 'items', '--like', 'a', '--explain', '--exact')
    assert re.search(r'^plan: exact; candidates \d+, visited [1-9]\d*$', explained, re.M)
    shown = items.good('vector', 'search', 'items', '--like', 'a', '--rows', '--vectors', '--limit', '1')
    assert '"title": "second"' in shown or '"title":"second"' in shown


def test_conditions_groups_and_words(items):
    assert found(items, '--vector', '[0.8, 0.6]', '--where', '{"kind": "x"}') == ['c', 'a'] or \
        found(items, '--vector', '[0.8, 0.6]', '--where', '{"kind": "x"}') == ['a', 'c']
    assert found(items, '--vector', '[1, 0]', '--group', 'kind') == ['a', 'b']
    assert found(items, '--vector', '[1, 0]', '--hybrid', 'third', '--fusion', 'weighted',
                 '--weight', '0.01')[0] == 'c'
    text = items.good('vector', 'search', 'items', '--vector', '[1, 0]', '--hybrid', 'first')
    assert text.startswith('SCORE') and text.split('\n')[1].split()[-1] == 'a'


def test_vectors_from_files(items):
    numbers = items.file('one.json', '[0,\n 1]\n')
    assert found(items, '--file', numbers, '--limit', '1') == ['c']
    assert found(items, '--file', binary(items, 'a.fvecs', fvecs([0, 1], [1, 0])), '--limit', '1') == ['c']
    assert found(items, '--file', binary(items, 'a.npy', npy('(2,)', struct.pack('<2f', 0, 1))),
                 '--limit', '1') == ['c']
    done = items.run('--json', 'vector', 'search', 'items', '--file', '-', input='[0, 1]')
    assert done.returncode == 0 and '"key":"c"' in done.stdout


def test_wrong_searches(items):
    for words, code, says in (
            (['--vector', '[1, 0'], 2, "--vector: JSON"),
            (['--vector', '7'], 2, 'must be an array of numbers'),
            (['--vector', '[1,0,0]'], 2, '2'),
            (['--vector', '[1,0]', '--file', 'x'], 2, 'exclude each other'),
            ([], 2, "exactly one of 'vector'"),
            (['--like', 'nobody'], 3, 'nobody'),
            (['--like', 'a', '--where', '{'], 2, '--where: JSON'),
            (['--like', 'a', '--where', '{"title": 1}'], 2, 'title'),
            (['--like', 'a', '--limit', 'many'], 2, '--limit: JSON'),
            (['--like', 'a', '--limit', '0'], 2, "'limit' is 0"),
            (['--like', 'a', '--weight', '0.5'], 2, "'query' is missing"),
            (['--file', 'gone.json'], 3, 'gone.json'),
            (['--file', binary(items, 'cut.npy', npy('(2,)', b'1234'))], 2, 'promises 1 vectors')):
        items.bad(code, 'vector', 'search', 'items', *words, says=says)
    items.bad(3, 'vector', 'search', 'nothing', '--vector', '[1,0]', says='nothing')


# --- add ---

def test_add(items):
    assert 'items b: version' in items.good('vector', 'add', 'items', 'b', '--vector', '[0.5, -1e-3]')
    row = items.json('get', 'items', 'b')['row']
    assert row['embedding'] == [0.5, -0.001] and row['title'] == 'second'
    items.bad(2, 'vector', 'add', 'items', 'b', '--vector', '[1]', says='dimensions')
    items.bad(2, 'vector', 'add', 'items', 'b', '--vector', '[1, null]', says='array of 1 to')
    items.bad(2, 'vector', 'add', 'items', 'b', '--vector', '[]', says='array of 1 to')
    items.bad(2, 'vector', 'add', 'items', 'b', says='missing')
    items.bad(3, 'vector', 'add', 'items', 'nobody', '--vector', '[1, 0]', says='nobody')
    items.bad(5, 'vector', 'add', 'items', 'b', '--vector', '[1, 0]', '--if-version', '1')
    assert vector_of(items, 'b') == [0.5, -0.001]


# --- import ---

def test_json_lines_again_change_nothing(items):
    answer = items.json('vector', 'import', 'items', 'items.jsonl')
    assert (answer['read'], answer['changed']) == (3, 0)
    patch = items.file('patch.jsonl', '{"key":"a","vector":[0.25,1]}\n')
    assert items.json('vector', 'import', 'items', patch, '--patch')['changed'] == 1
    row = items.json('get', 'items', 'a')['row']
    assert row['embedding'] == [0.25, 1] and row['title'] == 'first'
    assert items.json('vector', 'import', 'items', patch)['changed'] == 1  # put whole: no title
    assert items.json('get', 'items', 'a')['row']['title'] is None


def test_fvecs_and_npy(items):
    name = binary(items, 'v.fvecs', fvecs([1, 2], [3, 4]))
    assert items.json('vector', 'import', 'items', name, '--key-prefix', 'f')['changed'] == 2
    assert vector_of(items, 'f1') == [3, 4]
    for descr, code, numbers in (('<f4', 'f', [1, 0.1]), ('<f8', 'd', [1, 0.1]), ('<f2', 'e', [1, 0.5])):
        name = binary(items, 'v.npy', npy('(1, 2)', struct.pack('<2' + code, *numbers), descr))
        items.good('vector', 'import', 'items', name, '--key-prefix', descr[1:])
        assert vector_of(items, descr[1:] + '0') == numbers
    name = binary(items, 'v.npy', npy('(2, 2)', struct.pack('<4f', 0, 2, 2, 0)))
    items.good('vector', 'import', 'items', name, '--patch', '--keys', items.file('keys', 'a\nb\n'))
    assert (vector_of(items, 'a'), vector_of(items, 'b')) == ([0, 2], [2, 0])
    assert items.json('get', 'items', 'b')['row']['title'] == 'second'


def test_copy_of_pgvector(items):
    name = items.file('t.copy', 'p\tsay \\\\ \\t"hi"\t\\N\t[1,0.5]\nq\t\\N\t7\t[0,1]\n\\.\n')
    answer = items.json('vector', 'import', 'items', name, '--columns', 'id,title,n,embedding')
    assert answer['changed'] == 2
    row = items.json('get', 'items', 'p')['row']
    assert (row['title'], row['n'], row['embedding']) == ('say \\ \t"hi"', None, [1, 0.5])
    assert items.json('get', 'items', 'q')['row']['n'] == 7
    patch = items.file('p.copy', 'p\t[1,1]\n')
    items.good('vector', 'import', 'items', patch, '--columns', 'id,embedding', '--key', 'id', '--patch')
    assert items.json('get', 'items', 'p')['row']['n'] is None and vector_of(items, 'p') == [1, 1]


@pytest.mark.parametrize('name,data,words,says', [
    ('v.fvecs', fvecs([1, 2]) + b'\2\0\0\0abc', [], 'vector 1: the file ends in it'),
    ('v.fvecs', b'\xff\xff\xff\x7f', [], 'vector 0: its length is 2147483647'),
    ('v.fvecs', fvecs([1, 2, 3]), [], 'vector 0: domain'),
    ('v.fvecs', fvecs([1, 2], [float('nan'), 1]), [], 'vector 1: number 0 is not finite'),
    ('v.npy', b'\x93NUMPY\x02\x00\xff\xff\xff\xff', [], 'its header is longer than'),
    ('v.npy', npy('(18446744073709551615, 2)', b'12345678'), [], 'promises 18446744073709551615 vectors'),
    ('v.npy', npy('(1, 18446744073709551615)', b'12345678'), [], '1 to 16000 are allowed'),
    ('v.npy', npy('(1, 2)', b'12345678', order=True), [], 'fortran_order'),
    ('v.npy', npy('(1, 2)', b'12345678', '>f4'), [], "numbers are '>f4'"),
    ('v.npy', b'PK\3\4', [], 'this is no .npy'),
    ('v.npy', npy('(1, 2)', struct.pack('<2f', 1, 2)), ['--keys', '/dev/null'], 'has no key for it'),
    ('v.jsonl', b'{"key":"z","vector":[1,2]}\n{"key":"y","vector":[1,"2"]}\n', [], ":2: 'vector' must be"),
    ('v.jsonl', b'{"key":"z","vector":[1,2]}\n{"key":"y","vector":[1]}\n', [], 'line 2: domain'),
    ('v.jsonl', b'{"key":"z","vector":[1,2]', [], ':1: JSON'),
    ('v.copy', b'z\t[1,2]\n', [], '--columns is missing'),
    ('v.copy', b'z\t[1,2]\ny\t[1\n', ['--columns', 'id,embedding'], ':2: the vector is none'),
    ('v.copy', b'z\t[1,2]\n', ['--columns', 'id,embedding', '--patch'], '--patch needs --key'),
    ('v.jsonl', b'{}', ['--keys', 'x'], '--keys goes with fvecs and npy only'),
    ('v.npy', b'', ['--columns', 'a'], '--columns goes with the format copy only'),
    ('v.bin', b'', [], 'say --format fvecs, npy, jsonl or copy'),
])
def test_what_is_broken_is_named_and_nothing_of_it_is_in(items, name, data, words, says):
    before = count(items)
    items.bad(2, 'vector', 'import', 'items', binary(items, name, data), *words, says=says)
    assert count(items) == before


def test_batches_before_a_bad_one_are_in_and_it_goes_on_after_mending(items):
    lines = ['{"key":"k%d","vector":[1,%d]}' % (n, n) for n in range(25)]
    bad = items.file('bad.jsonl', '\n'.join(lines[:22] + ['{"key":"k22","vector":[1]}'] + lines[23:]))
    said = items.bad(2, 'vector', 'import', 'items', bad, '--batch', '10', says='line 23: ')
    assert '20 rows are in' in said and count(items) == 23
    good = items.file('good.jsonl', '\n'.join(lines))
    answer = items.json('vector', 'import', 'items', good, '--batch', '10')
    assert (answer['read'], answer['changed'], answer['unchanged']) == (25, 5, 20)


def test_from_a_pipe_in_bounded_memory(items):
    """200 MB of lines through a process that never has 150 MB: read on while it is sent."""
    work = subprocess.Popen([POLYSTORE, 'vector', 'import', 'items', '--format', 'jsonl', '-'],
                            cwd=items.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=items.environment())
    with work.stdin as pipe:
        for n in range(20000):
            pipe.write(b'{"key":"k%d",%10000s"vector":[1,%d]}\n' % (n, b'', n))
    said, problem = work.stdout.read(), work.stderr.read()
    _, status, used = os.wait4(work.pid, 0)
    work.returncode = os.waitstatus_to_exitcode(status)
    assert work.returncode == 0 and b'20000 rows read, 20000 changed' in said, problem
    assert b'\r' not in problem  # no bar where nobody sees it
    assert used.ru_maxrss < 150000, used  # KiB


def test_stats(items):
    text = items.good('vector', 'stats').split('\n')
    assert text[0].split()[:5] == ['DOMAIN', 'NAME', 'METRIC', 'DIMENSIONS', 'ELEMENT']
    assert text[1].split()[:5] == ['items', 'cosine', '2', 'f32', '3']  # it has no name
    assert items.json('vector', 'stats')['indexes'][0]['ef_construction'] == 64


# --- collections ---

def test_collections(items):
    """S3-38: without polystore.yaml."""
    make = ['vector', 'create', 'notes', '--dimensions', '2', '--filter', 'team', '--filter', 'day']
    assert items.good(*make) == 'notes: made\n'
    assert items.good(*make) == 'notes: there already, as it is wanted\n'
    assert items.json(*make)['filters'] == ['team', 'day']
    items.bad(5, *make[:-2], says="'notes' is there with another definition")
    items.bad(5, 'vector', 'create', 'items', '--dimensions', '2', says='of the configuration')
    items.bad(2, 'vector', 'create', 'Notes', '--dimensions', '2', says="'Notes'")
    items.bad(2, 'vector', 'create', 'x', says="needs 'dimensions'")
    items.bad(2, 'vector', 'create', 'x', '--dimensions', '16001', says='16000')
    items.bad(2, 'vector', 'create', 'x', '--dimensions', '0', says='16000')
    items.bad(2, 'vector', 'create', 'x', '--dimensions', '2', '--metric', 'hamming', says='binary')
    items.bad(2, 'vector', 'create', 'x', '--dimensions', '2', '--m', '1', says='100')
    items.good('vector', 'add', 'notes', 'a', '--put', '--vector', '[1, 0]', '--metadata',
               '{"team": "core", "day": 3}')
    lines = '{"key":"b","vector":[0.8,0.6],"metadata":{"team":"edge","day":5}}\n' \
            '{"key":"c","vector":[0,1]}\n'
    items.good('vector', 'import', 'notes', items.file('notes.jsonl', lines))

    def search(*words):
        answer = items.json('vector', 'search', 'notes', *words)
        return [match['key'] for match in answer['matches']]
    assert search('--vector', '[1, 0]') == ['a', 'b', 'c']
    assert search('--like', 'a', '--where', '{"day": {">": 3}}') == ['b']
    shown = items.good('vector', 'search', 'notes', '--like', 'c', '--limit', '1', '--show', 'metadata')
    assert shown.splitlines()[1].split(None, 3)[2:] == ['b', '{"team": "edge", "day": 5}']
    items.bad(2, 'vector', 'search', 'notes', '--like', 'a', '--where', '{"hour": 1}', says="'hour'")
    assert json.loads(items.good('get', 'notes', 'a', '--json'))['row']['metadata']['team'] == 'core'
    items.good('vector', 'add', 'notes', 'a', '--vector', '[1, 0]', '--metadata', '{"team": "edge"}')
    assert search('--vector', '[1, 0]', '--where', '{"team": "edge"}') == ['a', 'b']
    items.good('delete', 'notes', 'b')
    assert search('--vector', '[1, 0]') == ['a', 'c']
    assert [one['key'] for one in items.json('list', 'notes')['documents']] == ['a', 'c']
    names = [one['domain'] for one in items.json('vector', 'stats')['indexes']]
    assert names == ['items', 'notes']
    listed = items.good('vector', 'list').splitlines()
    assert listed[1].split()[:4] == ['notes', '2', 'cosine', 'f32'], listed
    items.good('rebuild', 'vector')
    assert search('--vector', '[1, 0]') == ['a', 'c']
    assert items.good('vector', 'drop', 'notes') == 'notes: dropped\n'
    items.bad(3, 'vector', 'drop', 'notes', says="'notes'")
    items.bad(3, 'get', 'notes', 'a', says="'notes'")
    assert items.json('vector', 'list')['collections'] == []
    assert found(items, '--vector', '[1, 0]') == ['a', 'b', 'c']  # the declared one, as before


def test_collections_with_text_and_several_vectors(items):
    """S3-38: all that a declared domain has."""
    make = ['vector', 'create', 'notes', '--vector', 'near:2', '--vector',
            'far:3,metric=l2,element=f16,m=8,model=m-2', '--text', 'title=4,body', '--text', 'more',
            '--filter', 'day']
    assert items.good(*make) == 'notes: made\n'
    made = items.json(*make)
    assert made['made'] is False
    assert [vector['name'] for vector in made['vectors']] == ['near', 'far']
    assert made['vectors'][1]['element'] == 'f16' and made['vectors'][1]['model'] == 'm-2'
    assert made['text'] == ['title', 'body', 'more'] and made['weights'] == {'title': 4}
    listed = items.good('vector', 'list').splitlines()
    assert [line.split()[:5] for line in listed] == [
        ['NAME', 'VECTOR', 'DIMENSIONS', 'METRIC', 'ELEMENT'],
        ['notes', 'near', '2', 'cosine', 'f32'], ['notes', 'far', '3', 'l2', 'f16']]
    lines = '{"key":"a","vector":[1,0],"metadata":{"title":"Green tea","day":1}}\n' \
            '{"key":"b","vector":[0.8,0.6],"metadata":{"body":"tea","day":2}}\n' \
            '{"key":"c","vector":[0,1],"metadata":{"more":"bread"}}\n'
    items.good('vector', 'import', 'notes', items.file('notes.jsonl', lines), '--field', 'near')
    items.good('vector', 'add', 'notes', 'c', '--field', 'far', '--vector', '[1, 2, 3]')

    def keys(*words):
        answer = items.json(*words)
        return [hit['key'] for hit in answer.get('matches', answer.get('hits'))]
    near = ['vector', 'search', 'notes', '--name', 'near', '--vector', '[1, 0]']
    assert keys(*near) == ['a', 'b', 'c']
    assert keys('vector', 'search', 'notes', '--name', 'far', '--vector', '[1, 1, 1]') == ['c']
    assert keys('search', 'tea', '--domain', 'notes') == ['a', 'b']
    assert keys('search', 'tea -green') == ['b']
    assert keys(*near, '--hybrid', 'bread', '--weight', '0.1', '--limit', '1') == ['c']
    assert keys(*near, '--hybrid', 'tea', '--where', '{"day": 2}') == ['b']
    items.bad(2, *near[:3], '--vector', '[1, 0]', says='several vectors')
    assert items.good('vector', 'drop', 'notes') == 'notes: dropped\n'
    for wrong, says in ((['--vector', 'a'], 'NAME:DIMENSIONS'),
                        (['--vector', 'a:x'], 'NAME:DIMENSIONS'),
                        (['--vector', ':2'], 'NAME:DIMENSIONS'),
                        (['--vector', 'a:2,n=3'], 'none of metric='),
                        (['--vector', 'a:2,m=x'], 'm is a number'),
                        (['--vector', 'a:2,m'], 'none of metric='),
                        (['--vector', 'id:2'], 'another column'),
                        (['--vector', 'a:2', '--dimensions', '2'], 'one vector and several'),
                        (['--dimensions', '2', '--text', '=4'], 'has no name'),
                        (['--dimensions', '2', '--text', ''], "--text '': a field has no name"),
                        (['--dimensions', '2', '--text', 'a,'], 'has no name'),
                        (['--dimensions', '2', '--text', 'a,,b'], 'has no name'),
                        (['--dimensions', '2', '--text', 'a=x'], 'a weight is a number'),
                        (['--dimensions', '2', '--text', 'a=5000'], 'no weight'),
                        (['--dimensions', '2', '--language', 'none'], 'name its fields')):
        items.bad(2, 'vector', 'create', 'x', *wrong, says=says)


# --- docs/vectors.md ---

NEXT = '{"key":"a","vector":[1,0,0],"title":"left out"}\n{"key":"b","vector":[0,0,1]}\n' \
       '{"key":"nobody","vector":[0,1,1]}\n'


def test_change_of_model(items):
    """S0-49: filled in parts, swapped, refused, and back; what is said, and the exit codes."""
    words = ('rebuild', 'vector', 'items', '--model', 'new', '--dimensions', '3')
    text = items.good(*words, '--from', items.file('next.jsonl', NEXT), '--no-swap')
    assert text == 'items: 2 vectors kept; 1 of no record, 0 of another version, left out\n'
    assert found(items, '--vector', '[0, 1]') == ['c', 'b', 'a']
    assert re.split(r'\s+', items.good('vector', 'models', 'items').splitlines()[1]) == [
        'items', '2', '0', 'new', '3', 'false', '2', '1', '0', '0']
    assert 'filled' not in items.json('vector', 'models')['models'][0]
    items.bad(5, *words, says="1 records have no vector of the model 'new', and 0 were changed "
                              "since theirs was given: 'c'")
    items.bad(2, *words, '--from', '-', '--format', 'jsonl', input='{"key":"c","vector":[1,2]}',
              says="lines 1 to 1: key 'c': vector 'embedding': 2 dimensions were given, it has 3")
    items.bad(2, 'rebuild', 'vector', 'items', '--model', 'new', says='--model needs --dimensions')
    items.bad(2, 'rebuild', 'search', 'items', '--back', says="only 'vector'")
    answer = items.json(*words, '--from', '-', '--format', 'jsonl',
                        input='{"key":"c","vector":[0,1,0],"version":3}')
    assert answer['taken'] == 1 and answer['swapped']['changed'] == 3
    assert answer['swapped']['model'] == 'new' and answer['swapped']['dropped'] == 0
    assert found(items, '--vector', '[0, 1, 0]') == ['c', 'a', 'b']
    items.bad(2, 'vector', 'search', 'items', '--vector', '[0, 1]', says='it has 3')
    items.bad(2, 'vector', 'search', 'items', '--vector', '[0, 1, 0]', '--model', 'old',
              says="its vectors are of the model 'new', the query's is of 'old'")
    items.bad(2, 'vector', 'import', 'items', items.file('more.jsonl', '{"key":"d","vector":[1,1,1]}'),
              '--model', 'old', says="those that are written of 'old'")
    items.good('vector', 'import', 'items', 'more.jsonl', '--model', 'new')
    items.bad(5, 'rebuild', 'vector', 'items', '--back', says="'d'")
    items.good('delete', 'items', 'd')
    assert 'of 2 dimensions' in items.good('rebuild', 'vector', 'items', '--back')
    assert found(items, '--vector', '[0, 1]') == ['c', 'b', 'a']
    items.good('rebuild', 'vector', 'items', '--abandon')
    items.bad(3, 'rebuild', 'vector', 'items', '--back', says='there is no model to go back to')


def test_change_of_model_of_a_collection(items):
    """S0-49: as of a declared domain, by the names of its vectors."""
    items.good('vector', 'create', 'notes', '--vector', 'near:2', '--vector', 'far:2,model=old')
    items.good('put', 'notes', 'a', '{"near": [1, 0], "far": [1, 0]}')
    words = ('rebuild', 'vector', 'notes', '--model', 'new', '--dimensions', '3', '--from', '-',
             '--format', 'jsonl')
    items.bad(2, *words, input='{"key":"a","vector":[1,2,3]}', says='several vectors')
    text = items.good(*words, '--name', 'far', input='{"key":"a","vector":[1,2,3]}')
    assert "notes: 1 records have vectors of 'new' now, of 3 dimensions" in text
    listed = items.json('vector', 'list')['collections'][0]['vectors']
    assert [(one['dimensions'], one.get('model')) for one in listed] == [(2, None), (3, 'new')]
    search = ('vector', 'search', 'notes', '--name', 'far', '--vector')
    assert [one['key'] for one in items.json(*search, '[1, 2, 3]')['matches']] == ['a']
    items.bad(2, *search, '[1, 0]', says='it has 3')
    assert "'old'" in items.good('rebuild', 'vector', 'notes', '--name', 'far', '--back')
    items.good('rebuild', 'vector', 'notes', '--name', 'far', '--abandon')
    assert [one['key'] for one in items.json(*search, '[1, 0]')['matches']] == ['a']


def test_change_of_model_from_other_files(items):
    """Vectors only, with their keys, and what COPY writes."""
    words = ('rebuild', 'vector', 'items', '--model', 'new', '--dimensions', '2', '--no-swap')
    binary(items, 'v.fvecs', fvecs([1, 0], [0, 1], [1, 1]))
    items.file('keys', 'a\nb\nc\n')
    assert '3 vectors kept' in items.good(*words, '--from', 'v.fvecs', '--keys', 'keys')
    items.file('t.copy', 'a\ttext\t[0,1]\n')
    items.bad(2, *words, '--from', 't.copy', says='copy needs --columns')
    assert '1 vectors kept' in items.good(*words, '--from', 't.copy', '--columns', 'id,title,embedding',
                                          '--key', 'id')
    items.good('rebuild', 'vector', 'items', '--model', 'new', '--dimensions', '2')
    assert vector_of(items, 'a') == [0, 1] and vector_of(items, 'b') == [0, 1]
    assert vector_of(items, 'c') == [1, 1]


def page():
    """{language: [blocks]} in their order, and [(command, answer)] of its consoles."""
    with open(os.path.join(ROOT, 'docs/vectors.md')) as file:
        blocks = re.findall(r'^```(\w+)\n(.*?)^```', file.read(), re.M | re.S)
    console = ''.join(text for language, text in blocks if language == 'console')
    return dict(reversed(blocks)), re.findall(r'^\$ (.*)\n((?:(?!\$ ).*\n)*)', console, re.M)


def same(text):
    """The last digits are the processor's."""
    text = re.sub(r'\b0\.\d{5,}', lambda match: '%.4f' % float(match.group()), text)
    return re.sub(r'[ \t]+$', '', without_what_differs(text), flags=re.M).strip()


def test_the_page_word_for_word(tmp_path):
    blocks, commands = page()
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    folder = Folder(tmp_path)
    os.makedirs(os.path.join(folder.path, 'migrations'))
    folder.file('polystore.yaml', blocks['yaml'].replace('7430', str(port)))
    folder.file('migrations/0001_dishes.sql', blocks['sql'])
    folder.file('dishes.jsonl', blocks['json'])
    assert len(commands) == 20
    for command, answer in commands:
        if command.startswith('curl') and folder.daemon is None:
            folder.start(listen='127.0.0.1:%d' % port)
        done = subprocess.run(command.replace('7430', str(port)), shell=True, cwd=folder.path,
                              env=folder.environment(), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        assert same(done.stdout) == same(answer), command
    folder.stop()
