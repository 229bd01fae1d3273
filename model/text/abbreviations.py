"""Abbreviations, and what follows them, in small tables.

For English, German, Spanish, Dutch, French, Italian and Portuguese. One set for all of them: a text
may mix languages, and a model may have several. The lists are written by hand, and checked against
the abbreviations and first words of sentences in the training parts of EWT, GUM and GermEval (a
frequent one that was missing was added, one that ended more sentences than not moved to `FINAL`).
"""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


TITLES = _words(
    "approx dr dra prof dott sig sr sra ing avv drs mevr dhr mw med phil jur rer iur theol "
    "habil Mr Mrs Ms Messrs Dr Prof Rev Hon Gen Col Maj Capt Cmdr Lt Sgt Cpl Adm Gov Sen Rep "
    "Reps Pres St Sta Sto Ste Sts Mt Mts Ft Pt Pvt Drs Supt Insp Atty Fr Hr Hrn Frl Dipl Hl "
    "Gebr Ing Priv Sr Sra Sres Srta Srs Dra Dña Dn Excmo Excma Exmo Exma Ilmo Lic Arq Ud Uds Vd "
    "Vds Pde Mons Mme Mlle Mmes Mgr Mw Mevr Dhr Jhr Mej Sig Sigg Dott Avv Geom Egr Spett e.g "
    "i.e E.g I.e viz vs Vs vol cf Cf cfr Cfr ft esp incl excl resp P.S N.B z.B Z.B d.h D.h u.a "
    "i.d.R o.g u.U sog bzw Bzw ca Ca vgl Vgl bspw ggf evtl inkl exkl zzgl engl lat griech frz "
    "franz ital russ dt geb gest verh bzgl einschl zw urspr sogen i.V Anm p.ej P.ej aprox pág "
    "págs Pág núm Núm Tel Avda Av Pza Ctra bijv Bijv d.w.z o.a t.a.v zgn p.ex"
)
"""Titles, and other abbreviations that never end a sentence."""

BEFORE_NUMBERS = _words(
    "No Nos no nos Nr nr Nrn Art Arts Abs Abb Fig Figs fig Sec Sect Ch ch p pp P Pp pg Vol Vols "
    "S s Bd Bde Kap c C n N nº Ext ext Tab Ziff Rn Rz Anm f Ep Op op núm Núm pág Pág r R v V Ed "
    "ed Apt Ste Rm Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Okt Dez ene feb abr jun jul "
    "ago sep oct nov dic Tel tel Fax fax Box Pos min max mind"
)
"""Those that do not end a sentence where a number follows."""

NUMBERS_ONLY = _words("No Nos no nos Art art Tab Box Pos Fax fax min max mind")
"""Words of their own: no abbreviation where no number follows."""

MIDDLE = _words(
    "Inc Corp Co Ltd Bros Cos Cie Jr Sr Sen jun sen Esq Dept dept Univ Assn Assoc Ave Blvd Rd "
    "Hwy Pkwy Sq Bldg Intl Natl Nat Mfg Div Dist Mins Govt Calif Fla Va Pa Conn Ala Ariz Ark "
    "Colo Del Ga Ind Kan Ky La Md Mich Minn Mont Neb Nev Okla Ore Tenn Tex Vt Wash Wis Wyo Jan "
    "Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Okt Dez Tue Tues Thu Thur Thurs al Attn attn "
    "Ed ed Eds eds repr Mio Mill Mrd Tsd Chr Str str Bhf Hbf Hrsg hrsg Abt Verl Jh Jhd Jhs Reg "
    "Bez Kr Landkr Einw Aufl verst St Kfm Ges Vors stellv vors Stv Cía Cia Hnos Edo Dpto Depto "
    "Gral Tte Cnel Pdte Pte Ayto At EE SS FF CC RR FC BM CB CF CD UD RCD Mij Stg "
    "Prov prov Sted Ets Sté Sa apr févr Gen gen Ing Ltda cia"
)
"""Those that end a sentence only where a word follows that often begins one, or a forename."""

FINAL = _words("etc usw usf ecc enz a.m p.m A.M P.M")
"""Those that end a sentence wherever an upper-case letter follows."""

AFTER_TIME = _words(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Tues Wed Thu Thur Thurs "
    "Fri Sat Sun January February March April May June July August September October November "
    "December Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Eastern Central Mountain Pacific "
    "Greenwich Local EST EDT ET CST CDT CT MST MDT MT PST PDT PT GMT UTC BST CET CEST"
)
"""What goes on behind `a.m.` and `p.m.`."""

NAME_PARTICLES = _words(
    "de del della delle dei degli der den des do dos da das di du la le van von vom zu zur ten "
    "ter of the and al bin ibn el st St y e &"
)
"""What stands inside a name in lower case."""

BEFORE_LETTERS = _words(
    "vitamin hepatitis plan type group class grade section part appendix exhibit figure option "
    "schedule annex series level category division formula table unit zone area point team item "
    "step phase block gate hall model version vitamina plano grupo clase tipo typ gruppe klasse "
    "teil anlage groupe classe gruppo groep deel bijlage influenza strain ward wing question"
)
"""Words, in lower case, behind which a single letter is no initial."""

_PARTICLE_STARTERS = _words(
    "El La Los Las Le Les Lo Gli Il Der Die Das Den Dem Des De Het Da Do Dos Di Du Del Della "
    "Van Von Vom Zu Ten Ter Al An Un Una Une"
)

STARTERS = _PARTICLE_STARTERS | _words(
    "The A This That These Those There Here He She It They We You I His Her Its Their Our My "
    "Your In On At By For From With To Of But And Or So Yet If When While As After Before Since "
    "Although Though However Then Thus Also Both Some Many Most Not What Who Why How Where "
    "Which Please Thanks During Because Under Once Is Are Was Were Do Does Did Has Have Had Can "
    "Could Would Should Let Now Today Later Yesterday Until Unless Such Each Every All Another "
    "Several Meanwhile Moreover Furthermore Instead Nevertheless Therefore Perhaps Maybe Just "
    "Even Only Despite According Among Between About Through Within Without Whether Whose "
    "Everyone Nothing Yes Well Am Im Es Er Sie Wir Ihr Ich Du Ein Eine Einen "
    "Einem Einer Eines Bei Beim Auf Für Mit Nach Vor Zum Zur Seit Seine Sein Seinen Ihre Ihren "
    "Diese Dieser Dieses Dies Diesem Diesen Als Auch Aber Doch Dann Dort Hier Heute Nun Nur "
    "Noch Wenn Wie Wer Wo Warum Und Oder Man Viele Alle Beide Weil Während Durch Unter Über Um "
    "Ab Aus Außerdem Danach Dabei Damit Darauf Daher Denn Jedoch Insgesamt Zwar Sowohl Ob Bis "
    "Nachdem Obwohl Zudem Später Jetzt Kein Keine Mein Meine Unser Unsere Ella Ellos Ellas Esta "
    "Este Esto Estos Estas Ese Esa Eso Aquel Su Sus Mi Mis Nos Se Si Sin Según Sobre Por Para "
    "Pero Y En Con Desde Hasta Entre Cuando Como Donde Aunque Además También Ya Hoy Ayer Así "
    "Ahora Después Antes Durante Tras Todo Todos Todas Muchos Son Fue Hay Más Mientras Porque "
    "Él Yo Tú Nosotros Ni Qué Quién Cómo Cuándo Dónde Een Deze Dit Dat Hij Zij Ze Wij Ik Jij Je "
    "Zijn Haar Hun Ons Onze Op Voor Met Naar Bij Uit Over Tot Maar Ook Toen Dan Nu Daar Omdat "
    "Wat Waar Hoe Volgens Tijdens Na Ce Cette Ces Cet Il Ils Elle Elles Nous Vous Tu Sa Ses "
    "Leur Leurs Mais Et Ou Où Dans Pour Par Avec Sans Sous Sur Depuis Pendant Après Avant Quand "
    "Comme Selon Aussi Ainsi Puis Car Donc Mon Ma Mes Notre Votre C'est Questo Questa Questi "
    "Queste Quello Egli Lui Lei Loro Noi Voi Io Suo Sua Suoi E Per Nel Nella Nei Dal Dalla Dopo "
    "Prima Anche Quando Come Dove Perché Secondo Oggi Ieri Così Poi O Os Ele Ela Eles Elas Nós "
    "Eu Seu Seus Suas Isto Isso Essa Esse Mas Em No Nas Ao Com Sem Depois Onde Segundo Hoje "
    "Ontem Também Já Não Uma"
)
"""Words that often begin a sentence, and seldom a name."""

PLAIN_STARTERS = STARTERS - _PARTICLE_STARTERS - _words("A E O Y Ma Si Sa Mi Na")
"""Those that do not stand in a name behind an initial, as `De` does in `R. De Niro`."""

FORENAMES = _words(
    "Aaron Abigail Adam Adrian Adriana Agnes Agustina Alan Albert Alberto Alejandra Alejandro "
    "Alessandro Alexander Alfred Alfredo Alice Alina Allan Amanda Amelia Amy Ana Andreas Andrea "
    "Andrew Andrés Angela Anita Ann Anna Anne Annette Annie Anthony Antoine Antonio Anton "
    "Arnold Arthur Astrid Aurora Ava Barbara Beatrice Beatriz Ben Benedikt Benjamin Bernard "
    "Bernd Bettina Betty Birgit Brenda Brian Bruno Camila Camille Carl Carla Carlos Carmen "
    "Carol Caroline Carole Catalina Catherine Cecilia Charles Charlie Chiara Chloe Chloé Chris "
    "Christina Christine Christoph Christopher Claire Clara Claudia Connor Cristina Cynthia "
    "Daniel Daniela David Davide Deborah Denise Dennis Derek Diana Diego Dieter Dirk Dmitri "
    "Donald Dorothy Douglas Dylan Edith Edward Edwin Eduardo Eleanor Elena Elias Elijah "
    "Elisabeth Elizabeth Ella Ellen Ellie Elsa Emil Emilia Emily Emma Enrique Eric Erica Erika "
    "Erin Ernst Esther Ethan Eva Evan Evelyn Felix Fernanda Fernando Fiona Florian Frances "
    "Francesca Francesco Francisco Franz Fred Frederick Friedrich Fritz Gabriel Gabriela Gareth "
    "Gary Gemma George Gerald Gerard Gerhard Gertrud Gianni Giorgio Giovanni Giulia Giuseppe "
    "Gloria Gordon Graham Greg Gregory Greta Guillermo Gustav Hannah Hans Harold Harry Heather "
    "Heidi Heike Heinrich Heinz Helen Helena Helga Helmut Henri Henrik Henry Herbert Hermann "
    "Hilda Holger Horst Howard Hugo Ian Ignacio Imogen Inge Ingrid Irene Isaac Isabel Isabella "
    "Isabelle Jack Jacob Jacques Jakob James Jan Jane Janet Janine Jasmine Jason Javier Jean "
    "Jeff Jeffrey Jennifer Jenny Jens Jeremy Jessica Jim Joachim Joan Joanna Joe Joel Johan "
    "Johann Johannes John Jonas Jonathan Jorge Joseph Joshua José Joyce Juan Juanita Judith "
    "Judy Julia Julian Juliana Julie Jürgen Karen Karin Karl Karla Katarina Kate Katharina "
    "Katherine Kathleen Katie Katja Katrin Keith Kenneth Kerstin Kevin Klara Klaus Konrad Kurt "
    "Laura Lauren Lars Lea Lena Leo Leonardo Leonie Lewis Liam Linda Lisa Lorenzo Louis Louise "
    "Luca Lucas Lucia Lucie Lucy Lucía Luis Luisa Lukas Luke Lydia Manfred Manuel Manuela Marc "
    "Marcel Marco Marcos Marcus Margaret Margarete Margarita Maria Mariana Marianne Marie "
    "Marina Mario Marion Marta Martha Martin Martina Mary María Mateo Matilda Matteo Matthew "
    "Matthias Max Maximilian Megan Mehmet Melanie Melissa Mia Michael Michaela Michelle Miguel "
    "Mike Mila Mohammed Molly Monica Monika Muhammad Nancy Naomi Natalia Natalie Nathan Neil "
    "Nicholas Nicola Nicolas Nicole Niels Nikolai Nina Noah Nora Norbert Olga Oliver Olivia "
    "Omar Oscar Oskar Otto Owen Pablo Pamela Patricia Patrick Paul Paula Pedro Peggy Peter "
    "Petra Philip Philipp Phoebe Pierre Priya Rachel Rafael Raj Ralf Ralph Ramón Raquel Rebecca "
    "Reinhard Renate Ricardo Richard Rita Robert Roberto Roger Roland Rolf Ronald Rosa Rosie "
    "Rüdiger Ruth Ryan Sabine Sabrina Sally Samantha Samuel Sandra Sara Sarah Sebastian "
    "Sebastián Sergio Sharon Silvia Simon Simone Sofia Sofía Sonia Sophia Sophie Stefan "
    "Stefanie Stella Stephanie Stephen Steve Steven Stuart Susan Susanne Suzanne Sven Sylvia "
    "Tamara Tanja Tanya Teresa Terry Theo Theresa Thomas Thorsten Tim Timothy Tobias Tom Tomás "
    "Tony Torsten Uwe Ulrich Ulrike Ursula Ute Valentina Valeria Vanessa Vera Veronica Vicente "
    "Victor Vincent Viola Vivian Volker Walter Wendy Werner Wilhelm William Wolfgang Xavier "
    "Yasmin Yvonne Zoe"
)
"""Forenames that are seldom a place, a surname or a word of their own; from general knowledge and
lists of popular names in the public domain."""
