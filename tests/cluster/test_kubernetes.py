"""The job description that Snakemake's executor gives to Kubernetes, held against the schema. No cluster runs it."""

import dataclasses
import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import rig

from paper_lib.data.store import Store
from paper_lib.engine import jobs, site, workflow
from paper_lib.study import plan, scales

ROOT = Path(__file__).resolve().parents[2]
VALIDATE = """
import json, sys, kubernetes_validate
for body in json.load(sys.stdin):
    kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
"""


class Server(http.server.BaseHTTPRequestHandler):
    """Accepts everything, keeps the jobs, and says of each that it has failed."""

    kept: list

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self.path.endswith('/jobs'):
            self.kept.append(body)
        self.answer(body)

    def do_GET(self):
        if '/pods' in self.path:
            return self.answer({'apiVersion': 'v1', 'kind': 'PodList', 'metadata': {}, 'items': []})
        return self.answer({'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {}, 'status': {'failed': 1}})

    def do_DELETE(self):
        self.answer({'apiVersion': 'v1', 'kind': 'Status', 'status': 'Success'})

    def log_message(self, *_):
        pass


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """The jobs that a server has been given."""
    kept = []
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), type('Kept', (Server,), {'kept': kept}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c',
        'clusters': [{'name': 'c', 'cluster': {'server': f'http://127.0.0.1:{server.server_port}'}}],
        'users': [{'name': 'u', 'user': {}}], 'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}],
    }  # fmt: skip
    (tmp_path / 'config').write_text(json.dumps(config))
    monkeypatch.setenv('KUBECONFIG', str(tmp_path / 'config'))
    yield kept
    server.shutdown()
    server.server_close()


@pytest.mark.cluster
def test_a_job_description_is_one_that_kubernetes_knows(kubernetes, tmp_path):
    if not shutil.which('rsync'):
        try:
            rig.apt_get('install', 'rsync')
        except rig.CannotRun as error:
            pytest.fail(str(error), pytrace=False)
    store = Store(tmp_path / 'runs')
    read = site.read(ROOT / 'workflow' / 'kubernetes.toml')
    where = dataclasses.replace(read, volume=f'runs:{store.root}', retries=0)
    planned = jobs.plan(plan.specs('base_agent', scales.get('paper'))[:1], where.lanes, where.pack, where.machine)
    (step,) = steps = workflow.steps(planned, {}, where, store, '', tmp_path)
    program = workflow.snakemake(where)
    path = workflow.write(steps, planned, where, store)
    done = subprocess.run(workflow.command(program, path, where, store), capture_output=True, text=True, timeout=180)
    assert kubernetes, done.stderr
    described = [{'apiVersion': 'batch/v1', 'kind': 'Job'} | job for job in kubernetes]
    python = Path(program).with_name('python')
    valid = subprocess.run([python, '-c', VALIDATE], input=json.dumps(described), capture_output=True, text=True)
    assert valid.returncode == 0, valid.stderr
    (container,) = described[0]['spec']['template']['spec']['containers']
    limits = {'cpu': f'{step.cores}000m', 'memory': f'{step.megabytes}M', 'nvidia.com/gpu': '1'}
    assert container['resources']['limits'] == limits
    assert container['image'] == where.image and f'job={step.id}' in container['args'][1]
    assert {mount['mountPath'] for mount in container['volumeMounts']} >= {str(store.root)}
