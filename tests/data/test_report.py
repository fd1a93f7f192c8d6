import json

from hexarec.data.importer import import_data

from .makers import write


def test_sentences_json_and_rejects(tmp_path):
    rows = "user,item,time,value\na,x,1700000000,5\na,y,never,4\n,y,1700000000,1\nb,z,1700000000,1\n"
    write(tmp_path, "events.csv", rows)
    write(tmp_path, "items.csv", "item,title\nx,Ex\ny,Why\n")
    report = import_data(tmp_path).report
    said = "\n".join(report.sentences())
    assert "2 of 4 events taken in" in said and "1 time cannot be read" in said and "1 items occur in events" in said
    assert json.loads(json.dumps(report.as_dict()))["rejected"] == {"time cannot be read": 1, "missing user": 1}
    report.write_rejects(tmp_path / "r.jsonl")
    first = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])
    assert first == {
        "file": "events.csv",
        "line": 3,
        "column": "time",
        "reason": "time cannot be read",
        "value": "never",
    }
