"""Three lines of each format, shown below an error on a terminal."""

from teddy.training.recipe.corpus_config import FormatName

_TOKENS = '"tokens": ["Ada", "ran"], "ner_tags": ["B-PER", "O"]'
SAMPLES: dict[FormatName, str] = {
    "auto": 'Ada\tB-PER\nran\tO\nor {"text": "Ada ran", "entities": [[0, 3, "PER"]]}',
    "conll": "Ada\tB-PER\nLovelace\tI-PER\nran\tO",
    "conllu": "1\tAda\t_\tPROPN\t_\t_\t0\t_\t_\tNER=B-PER\n2\tran\t_\tVERB\t_\t_\t0\t_\t_\tNER=O\n",
    "csv": "sentence,token,tag\n1,Ada,B-PER\n1,ran,O",
    "jsonl": '{"text": "Ada ran",\n "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n'
    "(on one line)",
    "doccano": '{"text": "Ada ran", "label": [[0, 3, "PER"]]}\n{"text": "Rain", "label": []}\n',
    "prodigy": '{"text": "Ada ran",\n "spans": [{"start": 0, "end": 3, "label": "PER"}],\n'
    ' "answer": "accept"} (on one line)',
    "label-studio": '[{"data": {"text": "Ada ran"}, "annotations": [{"result": [\n'
    ' {"from_name": "label", "to_name": "text", "type": "labels",\n'
    '  "value": {"start": 0, "end": 3, "labels": ["PER"]}}]}]}]',
    "argilla": '[{"fields": {"text": "Ada ran"}, "responses": {"spans": [{"user_id": "1",\n'
    '  "value": [{"start": 0, "end": 3, "label": "PER"}]}]}}]',
    "spacy": '[["Ada ran", {"entities": [[0, 3, "PER"]]}],\n ["It rained", {"entities": []}]]\n',
    "gliner": '[{"tokenized_text": ["Ada", "ran"],\n  "ner": [[0, 0, "PER"]]}]\n'
    "(first and last token)",
    "datasets": f'{{{_TOKENS}}}\nor numbers in "ner_tags", and\ntag_names = ["O", "B-PER"]',
    "brat": "1.txt: Ada ran\n1.ann: T1<tab>PER 0 3<tab>Ada\n",
    "webanno": "#T_SP=webanno.custom.Name|value\n#Text=Ada ran\n1-1\t0-3\tAda\tPER\t",
    "xml": "<PER>Ada</PER> ran\nIt rained &amp; snowed\n",
    "markdown": "[Ada](PER) ran\nIt rained\n",
    "docred": '[{"sents": [["Ada", "ran"]],\n  "vertexSet": [[{"sent_id": 0, "pos": [0, 1],\n'
    '                  "type": "PER"}]]}]',
}
