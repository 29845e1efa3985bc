"""Status, readiness and metrics agree, because they come from one place."""
import re


def test_metrics_and_status_agree(daemon):  # S4-83, S4-85, S4-87, S4-89, S4-90
    for i in range(7):
        assert daemon.put('/v1/records/notes/%d' % i, json={'text': 'x'}).status_code == 200
    for _ in range(3):
        assert daemon.get('/v1/records/notes/none').status_code == 404
    status, metrics = daemon.get('/v1/status').json(), daemon.metrics()
    ours = {k: v for k, v in metrics.items() if k.startswith('polystore_')}
    assert any(v == status['head'] for k, v in ours.items() if 'head' in k or 'position' in k)
    for projection in status['projections']:
        applied = [v for k, v in ours.items()
                   if 'applied' in k and 'store="%s"' % projection['store'] in k]
        assert applied == [projection['applied']]
    name = 'polystore_http_requests_total{operation="records.%s",status="%d"}'
    assert metrics[name % ('put', 200)] == 7
    assert metrics[name % ('get', 404)] == 3
    count = 'polystore_http_request_seconds_count{operation="records.put"}'
    assert metrics[count] == 7
    assert metrics['polystore_http_request_seconds_bucket{operation="records.put",le="+Inf"}'] == 7
    assert metrics['polystore_http_connections'] >= 1
    assert metrics['process_resident_memory_bytes'] > 1 << 20
    for size in ('database_bytes', 'wal_bytes'):  # S4-89
        assert metrics['polystore_' + size] == status[size] > 0


def test_metrics_are_well_formed(daemon):
    text = daemon.get('/metrics').text
    typed = set()
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            name, kind = line.split()[2:]
            assert name not in typed and kind in ('counter', 'gauge', 'histogram')
            typed.add(name)
        elif line and not line.startswith('#'):
            match = re.fullmatch(r'([a-z_]+)(\{[^{}]*\})? (\S+)', line)
            assert match, line
            float(match.group(3))
            base = re.sub(r'_(bucket|sum|count)$', '', match.group(1))
            assert match.group(1) in typed or base in typed, line


def test_ready_when_it_is(daemon):
    answer = daemon.get('/ready', key='')
    assert answer.status_code == 200
    assert daemon.get('/v1/status').json()['state'] == 'ok'


def test_openapi_names_what_serves(daemon):
    document = daemon.get('/openapi.json').json()
    assert document['openapi'].startswith('3.')
    for path, item in document['paths'].items():
        for method in item:
            if method in ('get', 'put', 'post', 'patch', 'delete'):
                plain = re.sub(r'\{[^}]*\}', 'x', path)
                if 'subscri' in plain and method == 'get':
                    continue
                answer = daemon.request(method.upper(), plain)
                assert answer.status_code not in (405, 501), (method, path)
