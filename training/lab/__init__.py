"""The laboratory: small experiments on what recurrent layers can do, with a page for each."""
