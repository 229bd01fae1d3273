# ruff: noqa: RUF001 - the dashes and the apostrophes are meant
"""Words of the second version, kind by kind, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.words import Tokeniser

KINDS = {
    "the full stop after a name is a word of its own": """
        She works for Vitamin C. | She works for Vitamin C .
        He left Acme Inc. | He left Acme Inc .
        It was Hepatitis B. | It was Hepatitis B .
        Born in Plan A. | Born in Plan A .
        the Harrow Corp. plant | the Harrow Corp . plant
        Quill & Sons Ltd. | Quill & Sons Ltd .
        on 12 Marsh St. | on 12 Marsh St .
        Marlon Pike Jr. won | Marlon Pike Jr . won
        Pike, Jr., won | Pike , Jr . , won
        J. Okafor | J . Okafor
        M. R. Delgado | M . R . Delgado
        J.Okafor | J . Okafor
        Ines Quill Sr. | Ines Quill Sr .
        (Orchard Co.) | ( Orchard Co . )
        "Orchard Co." | " Orchard Co . "
        Wells Bros. opened | Wells Bros . opened
        in Feb. and Dec. | in Feb . and Dec .
        É. Durand | É . Durand
        Dept. of Works | Dept . of Works
        tea, bread etc. | tea , bread etc .
        Plan 9. | Plan 9 .
        """,
    "the full stop of a title, and of letters with stops, belongs to them": """
        Mr. Okafor | Mr. Okafor
        Mrs. Lund | Mrs. Lund
        Ms. Vale | Ms. Vale
        Dr. Quill | Dr. Quill
        Prof. Amari | Prof. Amari
        Gen. Stroud | Gen. Stroud
        Sen. Baptiste | Sen. Baptiste
        Gov. Ilves | Gov. Ilves
        Rep. Mbeki | Rep. Mbeki
        Capt. Sorel | Capt. Sorel
        Lt. Col. Haas | Lt. Col. Haas
        Rev. Odell | Rev. Odell
        Mt. Brandon | Mt. Brandon
        Ft. Harrow | Ft. Harrow
        Leeds vs. York | Leeds vs. York
        the U.S. team | the U.S. team
        the U.K.'s best | the U.K. 's best
        U.S.-based | U.S. - based
        J.R.R. Fox | J.R.R. Fox
        Una Fox, Ph.D. | Una Fox , Ph.D.
        at 5 p.m. today | at 5 p.m. today
        """,
    "an underscore is no letter, except within a word": """
        _Nora Finch_ | _ Nora Finch _
        _Leeds_ | _ Leeds _
        __Leeds__ | __ Leeds __
        __Ivo Marsh__, | __ Ivo Marsh __ ,
        _Oslo_. | _ Oslo _ .
        (_Bergen_) | ( _ Bergen _ )
        _Mr. Okafor_ | _ Mr. Okafor _
        ___Tove___ | ___ Tove ___
        **_Tove_** | ** _ Tove _ **
        _*Tove*_ | _ * Tove * _
        _Tove's_ | _ Tove 's _
        _U.S._ | _ U.S. _
        _Jae-in_ | _ Jae-in _
        _1,000_ | _ 1,000 _
        _Ørsted_ | _ Ørsted _
        snake_case | snake_case
        max_n_words | max_n_words
        __init__ | __ init __
        _private | _ private
        trailing_ | trailing _
        Nora_Finch | Nora_Finch
        """,
    "other markup is cut off": """
        *Nora Finch* | * Nora Finch *
        **Leeds** | ** Leeds **
        ***Leeds*** | *** Leeds ***
        `Leeds` | ` Leeds `
        ~~Leeds~~ | ~~ Leeds ~~
        ~Leeds~ | ~ Leeds ~
        [Nora Finch](x) | [ Nora Finch ] ( x )
        [[Oslo]] | [ [ Oslo ] ]
        {{Oslo}} | { { Oslo } }
        <b>Oslo</b> | < b > Oslo < / b >
        |Oslo|Bergen| | | Oslo | Bergen |
        ==Oslo== | == Oslo ==
        ''Oslo'' | '' Oslo ''
        ``Oslo'' | `` Oslo ''
        “Oslo” | “ Oslo ”
        «Oslo» | « Oslo »
        >Oslo | > Oslo
        >>Oslo | >> Oslo
        Oslo/Bergen | Oslo / Bergen
        Oslo;Bergen | Oslo ; Bergen
        Oslo\\Bergen | Oslo \\ Bergen
        """,
    "a character reference of HTML is the character": """
        Jos&eacute; | José
        Garc&iacute;a | García
        Nora&hellip; | Nora …
        Oslo&ndash;Bergen | Oslo – Bergen
        Oslo&mdash;Bergen | Oslo — Bergen
        Ren&#233; | René
        Ren&#xE9; | René
        Ren&#XE9; | René
        A&amp;B | A & B
        &lt;Oslo&gt; | < Oslo >
        &quot;Oslo&quot; | " Oslo "
        O&#39;Hara | O'Hara
        O&rsquo;Hara | O’Hara
        John&#39;s | John 's
        don&rsquo;t | do n’t
        M&uuml;ller&nbsp;Haus | Müller Haus
        &nbsp;Oslo&nbsp; | Oslo
        Os&shy;lo | Oslo
        &Aring;lesund, | Ålesund ,
        &euro;5 | € 5
        &copy;2024 | © 2024
        &foo;bar | & foo ; bar
        &eacutebar | & eacutebar
        &amp;eacute; | & eacute ;
        Fish &amp; Chips | Fish & Chips
        """,
    "invisible characters are read through": """
        No\u200bra Finch | Nora Finch
        Nora\u200b Finch\u200b | Nora Finch
        \ufeffNora Finch | Nora Finch
        Nora Fi\ufeffnch | Nora Finch
        Nora Fin\u2060ch | Nora Finch
        Bir\u00adming\u00adham | Birmingham
        \u200eOslo\u200f | Oslo
        \u202aOslo\u202c | Oslo
        \u2066Oslo\u2069, | Oslo ,
        \u061cTove | Tove
        U.\u200bS. | U.S.
        O\u200b'Hara | O'Hara
        O'\u2060Hara | O'Hara
        John\u200b's | John 's
        1,\u200b000 | 1,000
        Jae\u200b-in | Jae-in
        5\u200bmg | 5 mg
        @\u200btove | @tove
        #\u200bOslo | # Oslo
        &eacute;\u200bt&eacute; | été
        https://example.org/\u200babc | https://example.org/abc
        """,
    "handles and hashtags": """
        @tovelund thanks! | @tovelund thanks !
        @tove_lund: | @tove_lund :
        .@tovelund | . @tovelund
        @TLund99 | @TLund99
        @tovelund's | @tovelund 's
        RT @tove: no | RT @tove : no
        @a_b_c, | @a_b_c ,
        (@tove) | ( @tove )
        @tove/@ivo | @tove / @ivo
        @ tove | @ tove
        tove@example.org | tove@example.org
        #Bergen | # Bergen
        #Bergen2031 | # Bergen 2031
        #2031Bergen | # 2031 Bergen
        #NewHarrowCity | # New Harrow City
        #TVNews | # TV News
        #MH17 | # MH 17
        #iPhone | # iPhone
        #McLaren | # McLaren
        #tove_lund | # tove _ lund
        #Leeds's | # Leeds 's
        #oslo. | # oslo .
        #1 | # 1
        # | #
        C# | C #
        """,
    "East Asian names with a hyphen are one word, other hyphens are words": """
        Moon Jae-in | Moon Jae-in
        Lee Jae-myung's | Lee Jae-myung 's
        Kim Jong-un, | Kim Jong-un ,
        Ban Ki-moon. | Ban Ki-moon .
        Park Geun-hye | Park Geun-hye
        Yoon Suk-yeol | Yoon Suk-yeol
        Roh Moo-hyun | Roh Moo-hyun
        Son Heung-min | Son Heung-min
        Bong Joon-ho | Bong Joon-ho
        Choi Soon-sil | Choi Soon-sil
        Tsai Ing-wen | Tsai Ing-wen
        Ma Ying-jeou | Ma Ying-jeou
        Chen Shui-bian | Chen Shui-bian
        Lee Teng-hui | Lee Teng-hui
        Chiang Kai-shek | Chiang Kai-shek
        Mao Tse-tung | Mao Tse-tung
        Wong Kar-wai | Wong Kar-wai
        Chow Yun-fat | Chow Yun-fat
        (Hwang Woo-suk) | ( Hwang Woo-suk )
        Goh Chok-tong | Goh Chok-tong
        New York-based | New York - based
        German-born | German - born
        Thai-run | Thai - run
        UN-led | UN - led
        Man-to-man | Man - to - man
        Jean-Luc | Jean - Luc
        al-Assad | al - Assad
        Coca-Cola | Coca - Cola
        """,
    "parts of words that people annotate": """
        5mg | 5 mg
        0.5ml | 0.5 ml
        20km | 20 km
        €5m | € 5 m
        $5bn | $ 5 bn
        US$5 | US $ 5
        £1.2m | £ 1.2 m
        5€ | 5 €
        100% | 100 %
        3pm | 3 pm
        5:30pm | 5:30 pm
        A&B | A & B
        AT&T | AT & T
        R&D | R & D
        iPhone13 | iPhone 13
        Galaxy9 | Galaxy 9
        COVID19 | COVID 19
        10:30-11:00 | 10:30 - 11:00
        1990-1995 | 1990 - 1995
        1990–1995 | 1990 – 1995
        555-1234 | 555 - 1234
        60kph | 60 kph
        1996-08-22 | 1996-08-22
        22-08-1996 | 22-08-1996
        6-4 | 6-4
        3–1 | 3–1
        22/8/96 | 22/8/96
        1,000.50 | 1,000.50
        1980s | 1980s
        3rd | 3rd
        A320 | A320
        MP3 | MP3
        """,
}
LANGUAGES = {
    "en": """
        O'Brien | O'Brien
        L'Oreal | L'Oreal
        D'Angelo | D'Angelo
        D’Arcy | D’Arcy
        rock'n'roll | rock'n'roll
        John's | John 's
        don't | do n't
        I'LL | I 'LL
        we'd've | we 'd 've
        the Finches' | the Finches '
        can't | ca n't
        they're | they 're
        I'm | I 'm
        Hawai'i | Hawai'i
        Qur'an | Qur'an
        Xi'an | Xi'an
        o'clock | o'clock
        ma'am | ma'am
        d'Artagnan | d'Artagnan
        N'Golo | N'Golo
        """,
    "fr": """
        l'Oise | l' Oise
        L'Oréal | L' Oréal
        d'Orléans | d' Orléans
        j'aime | j' aime
        s'est | s' est
        n'a | n' a
        m'appelle | m' appelle
        t'aime | t' aime
        c'est | c' est
        C’est | C’ est
        qu'il | qu' il
        Qu'Irène | Qu' Irène
        jusqu'à | jusqu' à
        lorsqu'Yves | lorsqu' Yves
        puisqu'on | puisqu' on
        quelqu'un | quelqu' un
        aujourd'hui | aujourd'hui
        prud'homme | prud'homme
        dit-il | dit -il
        a-t-elle | a -t-elle
        Aix-en-Provence | Aix - en - Provence
        l'Hôpital-sur-Rhins | l' Hôpital - sur - Rhins
        """,
    "it": """
        l'Italia | l' Italia
        L'Aquila | L' Aquila
        un'altra | un' altra
        dell'Umbria | dell' Umbria
        nell'Ottocento | nell' Ottocento
        all'Elba | all' Elba
        dall'Irpinia | dall' Irpinia
        sull'Arno | sull' Arno
        coll'arco | coll' arco
        d'Este | d' Este
        c'è | c' è
        s'intende | s' intende
        quell'anno | quell' anno
        quest'anno | quest' anno
        Sant'Elia | Sant' Elia
        bell'idea | bell' idea
        anch'io | anch' io
        com'era | com' era
        dov'è | dov' è
        tutt'altro | tutt' altro
        dell’Umbria, | dell’ Umbria ,
        """,
    "pt": """
        tornou-se | tornou -se
        disse-lhe | disse -lhe
        deu-me | deu -me
        viu-o | viu -o
        chamam-nos | chamam -nos
        dê-lhes | dê -lhes
        vê-la | vê -la
        amá-lo | amá -lo
        fez-se, | fez -se ,
        d'Oeste | d' Oeste
        Sant'Ana | Sant'Ana
        Trás-os-Montes | Trás - os - Montes
        luso-brasileiro | luso - brasileiro
        Foz-Velha | Foz - Velha
        guarda-chuva | guarda - chuva
        perdê-las | perdê -las
        diz-te | diz -te
        vos-lo | vos -lo
        Mogi-Guaçu | Mogi - Guaçu
        R$5 | R $ 5
        """,
    "es": """
        dárselo | dárselo
        ¿Oslo? | ¿ Oslo ?
        ¡Oslo! | ¡ Oslo !
        franco-alemán | franco - alemán
        N.º | N.º
        EE.UU. | EE . UU .
        D. Quijote | D . Quijote
        del Río | del Río
        L'Hospitalet | L'Hospitalet
        1.º | 1 . º
        """,
    "nl": """
        's-Gravenhage | 's - Gravenhage
        's-Hertogenbosch | 's - Hertogenbosch
        's avonds | 's avonds
        't Hof | 't Hof
        'n huis | 'n huis
        zo'n | zo'n
        Anna's | Anna 's
        foto's | foto 's
        Hans' | Hans '
        ’t Hof | ’t Hof
        """,
    "de": """
        US-Präsident | US - Präsident
        Nord-Süd | Nord - Süd
        Baden-Württemberg | Baden - Württemberg
        Berlin-Mitte | Berlin - Mitte
        Rhein-Main-Gebiet | Rhein - Main - Gebiet
        SPD-nah | SPD - nah
        Hans' | Hans '
        geht's | geht 's
        'ne Idee | 'ne Idee
        3. Oktober | 3 . Oktober
        z.B. | z.B.
        Karl-Heinz | Karl - Heinz
        Vor- und | Vor - und
        10km/h | 10 km / h
        """,
}
CASES = [
    pytest.param(language, *(part.strip() for part in line.split(" | ", 1)), id=f"{kind}{number}")
    for kind, language, table in [
        *((kind, "en", table) for kind, table in KINDS.items()),
        *((language, language, table) for language, table in LANGUAGES.items()),
    ]
    for number, line in enumerate(table.strip().splitlines())
]


@pytest.mark.parametrize(("language", "text", "words"), CASES)
def test_words_are_cut_as_their_kind_says(language: str, text: str, words: str) -> None:
    starts, ends, found = Tokeniser(2, language).split_words(text)
    assert found == words.split()
    if found == text.split() or (text.isascii() and "&" not in text):
        assert found == [text[start:end] for start, end in zip(starts, ends, strict=True)]


NAMES = st.sampled_from(["Nora", "Finch", "O'Hara", "U.S.", "Jae-in", "1,000", "iPhone13", "Inc."])
INVISIBLE = st.text("\u00ad\u200b\u2060\ufeff\u200e\u202c", max_size=3)


@given(st.lists(NAMES, min_size=1).map(" ".join), st.data())
def test_invisible_characters_change_no_word_and_lie_in_it(text: str, data: st.DataObject) -> None:
    between = [data.draw(INVISIBLE) for _ in text]
    hidden = "".join(map("".join, zip(between, text, strict=True)))
    starts, ends, words = Tokeniser().split_words(hidden)
    assert words == Tokeniser().split_words(text)[2]
    # each word is the characters from its first to its last visible one
    places = [place for place, character in enumerate(hidden) if character in text]
    moved = Tokeniser().offsets(text)
    assert [*zip(starts, ends, strict=True)] == [
        (places[start], places[end - 1] + 1) for start, end in moved
    ]


@given(st.lists(NAMES, min_size=1).map(" ".join), st.data())
def test_a_reference_instead_of_a_character_changes_no_word(text: str, data: st.DataObject) -> None:
    spelt = [
        f"&#{ord(each)};" if data.draw(st.booleans()) and not each.isspace() else each
        for each in text
    ]
    starts, ends, words = Tokeniser().split_words("".join(spelt))
    assert words == Tokeniser().split_words(text)[2]
    lengths = [*map(len, spelt)]
    assert [*zip(starts, ends, strict=True)] == [
        (sum(lengths[:start]), sum(lengths[:end])) for start, end in Tokeniser().offsets(text)
    ]


@pytest.mark.parametrize(
    ("language", "words"),
    [("fr", 2), ("fr-CA", 2), ("FR", 2), ("en", 1), ("", 1), ("xx", 1), ("nonsense", 1)],
)
def test_a_language_is_known_by_its_code_and_an_unknown_one_has_the_common_rules(
    language: str, words: int
) -> None:
    assert len(Tokeniser(2, language).offsets("l'Oslo")) == words


@given(st.from_regex(r"[A-Za-z0-9_]{1,20}[.,:!]?", fullmatch=True), st.sampled_from(["", "RT "]))
def test_a_user_name_ends_at_one_place_whether_its_mark_stands_apart(
    name: str, before: str
) -> None:
    joined = Tokeniser().split_words(f"{before}@{name} hello_")[2]
    apart = Tokeniser().split_words(f"{before}@ {name} hello_")[2]
    assert " ".join(joined).replace("@ ", "@") == " ".join(apart).replace("@ ", "@")
