# mypy: ignore-errors
# Each tool is installed only in an environment of its own.
"""Make the files of this folder again: one text set as each annotation tool exports it.

spaCy, `datasets`, doccano, Label Studio and Argilla write their files themselves, each in an
environment of its own: `pip install spacy datasets`; `pip install doccano 'marshmallow<4' 'numpy<2'
'pandas<2.3' 'setuptools<81'`; `pip install label-studio`; `pip install argilla requests`. The
others follow the tool's published schema, with the fields of its exports.

    python tests/training/exports/make.py
    python tests/training/exports/make.py doccano
    python tests/training/exports/make.py label_studio
    python tests/training/exports/make.py argilla
"""

import json
import os
import shutil
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import UUID

HERE = Path(__file__).parent
GOLD: list[tuple[str, list[tuple[int, int, str]]]] = [
    ("Ada Lovelace met Bo in New York .", [(0, 12, "PER"), (17, 19, "PER"), (23, 31, "LOC")]),
    ("Thanks 🙏🙏🙏 Oslo , said Zoë !", [(11, 15, "LOC"), (23, 26, "PER")]),
    ("It rained .", []),
]
NAMES = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def utf16(text: str, offset: int) -> int:
    return len(text[:offset].encode("utf-16-le")) // 2


def tagged(text: str, spans: list[tuple[int, int, str]]) -> list[tuple[str, str]]:
    """Return words and BIO tags; words have spaces around them."""
    pairs, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        label = next(((s, each) for s, e, each in spans if s <= at < e), None)
        pairs.append((word, "O" if label is None else f"{'BI'[at > label[0]]}-{label[1]}"))
        at += len(word)
    return pairs


def lines(name: str, records: list[Any]) -> None:
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records)
    (HERE / name).write_text(text, encoding="utf-8")


def whole(name: str, value: Any) -> None:
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def doccano() -> None:
    """Annotate and export in doccano itself, in a database of its own."""
    sys.path.insert(0, next(iter(find_spec("backend").submodule_search_locations)))  # type: ignore
    folder = mkdtemp()
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.development"
    os.environ["DATABASE_URL"] = f"sqlite:///{folder}/doccano.sqlite3"
    import django

    django.setup()
    from django.conf import settings

    settings.MEDIA_ROOT = folder
    from data_export.celery_tasks import export_dataset
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from examples.models import Example
    from label_types.models import SpanType
    from labels.models import Span
    from projects.models import SequenceLabelingProject

    call_command("migrate", verbosity=0)
    call_command("create_roles", verbosity=0)
    user = get_user_model().objects.create(username="ada")
    project = SequenceLabelingProject.objects.create(
        name="made up",
        created_by=user,
        project_type="SequenceLabeling",
        collaborative_annotation=True,
    )
    project.add_admin()
    types = {each: SpanType.objects.create(project=project, text=each) for each in ("PER", "LOC")}
    for text, spans in GOLD:
        example = Example.objects.create(project=project, text=text, meta={"source": "made up"})
        for start, end, label in spans:
            place = {"start_offset": start, "end_offset": end}
            Span.objects.create(example=example, user=user, label=types[label], **place)
    for name, use_relation in (("doccano", False), ("doccano-relations", True)):
        project.use_relation = use_relation
        project.save()
        with zipfile.ZipFile(export_dataset(project.pk, "JSONL")) as exported:
            (HERE / f"{name}.jsonl").write_bytes(exported.read("all.jsonl"))


def argilla() -> None:
    """Write records as `dataset.records.to_json` and `to_datasets` of Argilla's SDK do.

    The rows say which responses were submitted. The JSON does not: it has those alone here.
    """
    from argilla import Record, Response, Suggestion
    from argilla.records._io import GenericIO, JsonIO
    from datasets import Dataset

    users = [UUID(int=1), UUID(int=2)]

    def response(question: str, value: Any, user: UUID, status: str = "submitted") -> Any:
        return Response(question, value, user_id=user, status=status)

    for is_json in (True, False):
        records = []
        for n, (text, spans) in enumerate(GOLD):
            marks = [{"start": s, "end": e, "label": label} for s, e, label in spans]
            answers = [response("spans", marks, users[0]), response("good", "yes", users[0])]
            others = [{"start": 0, "end": 3, "label": "LOC"}]
            if not is_json:
                answers.append(response("spans", others, users[1], ["draft", "discarded"][n % 2]))
            guess = Suggestion("spans", others, score=0.5, agent="model")
            fields, meta = {"text": text}, {"source": "made up"}
            records.append(Record(str(n), fields, meta, responses=answers, suggestions=[guess]))
        records.append(Record("9", {"text": "Not yet read"}, {"source": "made up"}))
        if is_json:
            (HERE / "argilla.json").unlink(missing_ok=True)
            JsonIO.to_json(records, HERE / "argilla.json")
        else:
            rows = GenericIO.to_dict(records, flatten=True)
            Dataset.from_dict(rows).to_parquet(HERE / "argilla.parquet")


def prodigy() -> None:
    records = []
    for n, (text, spans) in enumerate(GOLD):
        tokens, at = [], 0
        for number, word in enumerate(text.split()):
            at = text.index(word, at)
            tokens.append(
                {"text": word, "start": at, "end": at + len(word), "id": number, "ws": True}
            )
            at += len(word)
        marked = [
            {
                "start": s,
                "end": e,
                "token_start": next(t["id"] for t in tokens if t["start"] == s),
                "token_end": next(t["id"] for t in tokens if t["end"] == e),
                "label": label,
            }
            for s, e, label in spans
        ]
        record = {
            "text": text,
            "meta": {"n": n},
            "_input_hash": -n,
            "_task_hash": n,
            "tokens": tokens,
        }
        more = {"_view_id": "ner_manual", "spans": marked, "answer": "accept", "_timestamp": 17 + n}
        records.append(record | more)
    wrong = [{"start": 0, "end": 3, "label": "LOC"}]
    records.insert(1, {"text": "Oslo sat down", "spans": wrong, "answer": "reject"})
    records.insert(3, {"text": "Rome sat down", "spans": [], "answer": "ignore"})
    lines("prodigy.jsonl", records)


def label_studio() -> None:
    """Annotate and export in Label Studio itself, in a database of its own."""
    sys.path.insert(0, next(iter(find_spec("label_studio").submodule_search_locations)))
    os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings.label_studio"
    os.environ |= {"DJANGO_DB": "sqlite", "LABEL_STUDIO_BASE_DATA_DIR": mkdtemp(), "SENTRY_DSN": ""}
    import django

    django.setup()
    from data_export.models import DataExport
    from data_export.serializers import ExportDataSerializer
    from django.core.management import call_command
    from organizations.models import Organization
    from projects.models import Project
    from tasks.models import Annotation, Task
    from users.models import User

    call_command("migrate", verbosity=0)
    user = User.objects.create(email="ada@example.org", username="ada")
    user.active_organization = Organization.create_organization(created_by=user, title="made up")
    user.save()
    labels = '<Labels name="label" toName="text"><Label value="PER"/><Label value="LOC"/></Labels>'
    config = f'<View>{labels}<Text name="text" value="$text"/></View>'
    organization = user.active_organization
    project = Project.objects.create(
        title="made up", label_config=config, organization=organization, created_by=user
    )
    for text, spans in GOLD:
        task = Task.objects.create(project=project, data={"text": text})
        result = [
            {
                "value": {"start": s, "end": e, "text": text[s:e], "labels": [label]},
                "id": f"r{s}",
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
                "origin": "manual",
            }
            for s, e, label in spans
        ]
        Annotation.objects.create(task=task, project=project, completed_by=user, result=result)
        Annotation.objects.create(
            task=task, project=project, completed_by=user, result=[], was_cancelled=True
        )
    Task.objects.create(project=project, data={"text": "Not yet read"})
    tasks = Task.objects.filter(project=project).order_by("id")
    listed = ExportDataSerializer(tasks, many=True, context={"interpolate_key": True}).data
    plain = json.loads(json.dumps(listed, default=str))
    for name, form in (("label-studio", "JSON"), ("label-studio-min", "JSON_MIN")):
        file, _, _ = DataExport.generate_export_file(project, plain, form, False, {})
        (HERE / f"{name}.json").write_bytes(file.read())


def label_studio_of_old() -> None:
    """Write tasks as Label Studio did before 1.4, whose offsets counted UTF-16 units."""
    tasks = []
    for n, (text, spans) in enumerate(GOLD, start=1):
        result = [
            {
                "value": {
                    "start": utf16(text, s),
                    "end": utf16(text, e),
                    "text": text[s:e],
                    "labels": [label],
                },
                "id": f"r{n}{s}",
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
            }
            for s, e, label in spans
        ]
        choice = {"value": {"choices": ["news"]}, "from_name": "kind", "type": "choices"}
        done = {"created_at": 17, "id": n, "lead_time": 4.2, "result": [*result, choice]}
        tasks.append({"id": n, "completions": [done], "data": {"text": text}})
    whole("label-studio-utf16.json", tasks)


def brat() -> None:
    folder = HERE / "brat"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for n, (text, spans) in enumerate(GOLD):
        (folder / f"{n}.txt").write_text(text + "\n", encoding="utf-8")
        rows = [
            f"T{i}\t{label} {s} {e}\t{text[s:e]}" for i, (s, e, label) in enumerate(spans, start=1)
        ]
        rows += ["A1\tNegation T1", "#1\tAnnotatorNotes T1\tsure"] if rows else []
        (folder / f"{n}.ann").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def webanno() -> None:
    layer = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
    rows = ["#FORMAT=WebAnno TSV 3.3", f"#T_SP={layer}|identifier|value", "", ""]
    begin, entity = 0, 0
    for number, (text, spans) in enumerate(GOLD, start=1):
        rows.append(f"#Text={text}")
        ids = {}
        at = 0
        for place, word in enumerate(text.split(), start=1):
            at = text.index(word, at)
            covering = next((span for span in spans if span[0] <= at < span[1]), None)
            value = "_"
            if covering:
                is_long = " " in text[covering[0] : covering[1]]
                if is_long and covering not in ids:
                    entity += 1
                    ids[covering] = entity
                value = covering[2] + (f"[{ids[covering]}]" if is_long else "")
            start, end = (begin + utf16(text, each) for each in (at, at + len(word)))
            identifier = (
                "_" if value == "_" else "*" + (f"[{ids[covering]}]" if covering in ids else "")
            )
            rows.append(f"{number}-{place}\t{start}-{end}\t{word}\t{identifier}\t{value}\t")
            at += len(word)
        rows.append("")
        begin += utf16(text, len(text)) + 1
    (HERE / "webanno.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def columns() -> None:
    blocks = [tagged(*each) for each in GOLD]

    def write(name: str, row: str, tag: Any = lambda tag: tag) -> None:
        text = "\n".join(
            "".join(row.format(w, tag(t)) + "\n" for w, t in block) for block in blocks
        )
        (HERE / name).write_text(text, encoding="utf-8")

    write("flair.txt", "{} {}")
    write("stanford.tsv", "{}\t{}", lambda tag: tag.partition("-")[2] or "O")
    write("suffix.txt", "{} {}", lambda tag: "-".join(reversed(tag.split("-"))))
    plus = ["# global.columns = ID FORM PARSEME:NE", ""]
    tree = []
    for block in blocks:
        plus += [f"{n}\t{w}\t{t}" for n, (w, t) in enumerate(block, start=1)] + [""]
        tree += [
            f"{n}\t{w}" + "\t_" * 7 + f"\tNER={t}" for n, (w, t) in enumerate(block, start=1)
        ] + [""]
    (HERE / "plus.conllup").write_text("\n".join(plus), encoding="utf-8")
    (HERE / "misc.conllu").write_text("\n".join(tree), encoding="utf-8")
    cells = [(" ".join(w for w, _ in block), " ".join(t for _, t in block)) for block in blocks]
    rows = "".join(f'{n},"{w}",{t}\n' for n, (w, t) in enumerate(cells))
    (HERE / "sentences.csv").write_text("id,text,labels\n" + rows, encoding="utf-8")
    rows = ";\n".join("".join(f"{w};{t}\n" for w, t in block) for block in blocks)
    (HERE / "words.csv").write_bytes(("word;tag\n" + rows).encode("utf-16"))
    lines("gliner.json", [])
    gliner = []
    for text, spans in GOLD:
        words = text.split()
        starts = {i: n for n, i in enumerate(text.index(w) for w in words)}
        ends = {i + len(words[n]): n for i, n in starts.items()}
        gliner.append(
            {"tokenized_text": words, "ner": [[starts[s], ends[e], label] for s, e, label in spans]}
        )
    whole("gliner.json", gliner)


def markup() -> None:
    xml, markdown = [], []
    for text, spans in GOLD:
        elements = links = ""
        at = 0
        for start, end, label in spans:
            elements += f"{text[at:start]}<{label}>{text[start:end]}</{label}>"
            links += f"{text[at:start]}[{text[start:end]}]({label})"
            at = end
        xml.append(f"<s>{elements}{text[at:]}</s>")
        markdown.append(links + text[at:])
    (HERE / "inline.xml").write_text("\n".join(["<doc>", *xml, "</doc>", ""]), encoding="utf-8")
    (HERE / "inline.md").write_text("\n".join([*markdown, ""]), encoding="utf-8")


def spacy_files() -> None:
    import spacy
    from spacy.tokens import DocBin
    from spacy.training import docs_to_json

    nlp = spacy.blank("en")
    docs = []
    for text, spans in GOLD:
        doc = nlp(text)
        doc.ents = [doc.char_span(s, e, label=label) for s, e, label in spans]
        for token in doc:
            token.is_sent_start = token.i == 0
        docs.append(doc)
    DocBin(docs=docs).to_disk(HERE / "docbin.spacy")
    lines("spacy3.jsonl", [doc.to_json() for doc in docs])
    whole("spacy2-trained.json", [docs_to_json(doc, n) for n, doc in enumerate(docs)])
    whole("spacy2.json", [(text, {"entities": spans}) for text, spans in GOLD])
    source = ",\n".join(f"    ({text!r}, {{'entities': {spans!r}}})" for text, spans in GOLD)
    (HERE / "spacy2.py.txt").write_text(f"TRAIN_DATA = [\n{source},\n]\n", encoding="utf-8")


def datasets_files() -> None:
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    blocks = [tagged(*each) for each in GOLD]
    columns = {
        "id": [str(n) for n in range(len(blocks))],
        "tokens": [[w for w, _ in block] for block in blocks],
        "ner_tags": [[NAMES.index(t) for _, t in block] for block in blocks],
    }
    tags = Sequence(ClassLabel(names=NAMES))
    features = Features(
        {"id": Value("string"), "tokens": Sequence(Value("string")), "ner_tags": tags}
    )
    dataset = Dataset.from_dict(columns, features=features)
    dataset.to_parquet(HERE / "datasets.parquet")
    shutil.rmtree(HERE / "datasets-folder", ignore_errors=True)
    dataset.save_to_disk(HERE / "datasets-folder")
    (HERE / "datasets-card").mkdir(exist_ok=True)
    dataset.to_json(HERE / "datasets-card" / "train.jsonl")
    names = "".join(f"            '{n}': {name}\n" for n, name in enumerate(NAMES))
    head = "---\ndataset_info:\n  features:\n  - name: id\n    dtype: string\n  - name: tokens\n"
    head += "    sequence: string\n  - name: ner_tags\n    sequence:\n      class_label:\n"
    head += "        names:\n"
    (HERE / "datasets-card" / "README.md").write_text(f"{head}{names}---\n# Made up\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        {"doccano": doccano, "label_studio": label_studio, "argilla": argilla}[sys.argv[1]]()
    else:
        for make in (prodigy, label_studio_of_old, brat, webanno, columns, markup):
            make()
        spacy_files()
        datasets_files()
