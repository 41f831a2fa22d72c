"""What a client of training does again and again."""

import io
import json

from PIL import Image

from tests.processes import eventually


def start(client, family, options):
    answer = client.post(f"/training/{family}", json=options)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


def wait(client, run, *states):
    eventually(lambda: client.get(run).json()["status"] in (states or ("succeeded",)), within_s=250)
    return client.get(run).json()


def events(client, run, *, on_event=lambda: None, **headers):
    """All events until the stream ends: (event, id, data)."""
    found = []
    with client.stream("GET", f"{run}/events", headers=headers, timeout=120) as stream:
        fields = {}
        for line in stream.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
                fields = {}
                on_event()
    return found


def picture(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))
