// Texts to try. They are made up.

export const SAMPLES = new Map([
  ["Teddy Roosevelt", "He said, Teddy Roosevelt was a great President!"],
  ["Teddy bears", "He said, Teddy bears are on sale at Hartwell & Sons in Boston!"],
  ["A letter", [
    "Lisbon, 4 May",
    "",
    "Dear Clara,",
    "",
    "We left Bristol on Tuesday and reached Porto after six days at sea. Edmund was ill for most " +
    "of the voyage, but Mrs. Winslow looked after him. At the harbour a clerk of the Hartwell " +
    "Shipping Company was waiting with your letter, and with a parcel from Uncle George in " +
    "Edinburgh.",
    "",
    "The office in Rua das Flores is small and hot. Senhor Almeida, who ran it for the Bank of " +
    "Portugal, speaks better English than Edmund does. He knows everybody from Madrid to " +
    "Gibraltar, and says that Germany and Brazil will buy whatever we can ship.",
    "",
    "Give my love to Henry and to all at St. Mary's Hospital.",
    "",
    "Your Beatrice",
  ].join("\n")],
  ["Right to left", [
    "בבוקר הגיע מכתב מאת Clara Winslow.",
    "Clara Winslow wrote \"שלום\" to Daniel Katz in Haifa.",
    "أهلا، قالت Maria Santos.",
  ].join("\n")],
  ["A list", [
    "1. Anna Berg, Oslo",
    "2. José Álvarez, Zaragoza 🎈",
    "3. Société Générale, Paris",
    "4. Zoë O'Neill, Galway",
  ].join("\n")],
]);
