"""The language-model layer: one request type, one capability set, several back ends, two wrappers.

Import from the modules: `hexarec.lm.base` (types), `hexarec.lm.open` (`open_lm`, `open_encoder`), `hexarec.lm.guard`,
`hexarec.lm.cassette`, `hexarec.lm.models`. Nothing is imported here, so that `import hexarec` stays light.
"""
