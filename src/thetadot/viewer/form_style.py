"""How the form looks: style sheets for the shadow roots of its widgets, in the colours of the page."""

WIDGET = """
:host { font: inherit; color: var(--text, #1a1f24); min-width: 0; margin: 0; }
.bk-input-group label, .bk-input-group .bk-label, label { color: var(--text, #1a1f24); font-size: .875rem; font-weight: 600; }
.bk-input, input.bk-input, select.bk-input, textarea.bk-input {
  font: inherit; font-size: .95rem; color: var(--text, #1a1f24); background-color: var(--card, #fff);
  border: 1px solid var(--field-line, #7b858f); border-radius: 6px; min-height: 2.3rem; width: 100%; box-sizing: border-box;
}
textarea.bk-input { min-height: 4.2rem; }
.bk-input::placeholder { color: var(--quiet, #57606a); opacity: 1; }
.bk-input:focus, .bk-input:focus-visible { outline: 2px solid var(--accent, #0072b2); outline-offset: 1px; border-color: var(--accent, #0072b2); }
select.bk-input option { background: var(--card, #fff); color: var(--text, #1a1f24); }
:host(.wrong) .bk-input { border: 2px solid var(--bad, #9b1c1c); }
:host(.wrong) label { color: var(--bad, #9b1c1c); }
input[type=checkbox] { width: 1.15rem; height: 1.15rem; accent-color: var(--accent, #0072b2); margin: 0 .5rem 0 0; }
input[type=checkbox]:focus-visible { outline: 2px solid var(--accent, #0072b2); outline-offset: 2px; }
.bk-input-group:has(input[type=checkbox]) { padding: 0; min-height: 1.6rem; }
"""
"""Of inputs, selects and boxes to tick."""

BUTTON = """
:host { margin: 0; }
.bk-btn, .bk-btn-group > .bk-btn {
  font: inherit; font-size: .9rem; color: var(--text, #1a1f24); background: none; border: 1px solid var(--field-line, #7b858f);
  border-radius: 1.2rem; padding: .3rem .95rem; min-height: 2.1rem; text-align: left; white-space: normal; line-height: 1.3;
}
.bk-btn:hover:not([disabled]) { background: var(--page, #f4f6f8); }
.bk-btn:focus-visible { outline: 2px solid var(--accent, #0072b2); outline-offset: 2px; }
.bk-btn[disabled] { opacity: .55; }
:host(.main) .bk-btn { background: var(--accent, #0072b2); border-color: transparent; color: var(--card, #fff); font-weight: 650; }
:host(.stop) .bk-btn { color: var(--bad, #9b1c1c); border-color: var(--bad, #9b1c1c); }
:host(.fold) .bk-btn { border: 0; padding: .3rem .1rem; color: var(--accent, #0072b2); background: none; }
:host(.fold) .bk-btn:hover { text-decoration: underline; }
"""
"""Of buttons: the `main` one, those that `stop`, those that `fold`."""

TEXT = """
:host { margin: 0; color: var(--text, #1a1f24); font: inherit; font-size: .95rem; min-width: 0; }
h2 { font-size: 1.15rem; margin: 0 0 .2rem; } h3 { font-size: .95rem; margin: 0; }
p { margin: .2rem 0; overflow-wrap: anywhere; }
.help { color: var(--quiet, #57606a); font-size: .82rem; line-height: 1.35; margin: .15rem 0 0; }
.wrong { color: var(--bad, #9b1c1c); background: var(--bad-paper, #fde9e8); border-radius: 5px; padding: .25rem .5rem;
  font-size: .85rem; line-height: 1.4; margin: .25rem 0 0; overflow-wrap: anywhere; }
.good { color: var(--good, #00604c); background: var(--good-paper, #e2f4ee); border-radius: 5px; padding: .3rem .6rem; margin: .25rem 0; }
.wait { color: var(--fair, #6f4a00); background: var(--fair-paper, #fcf0d9); border-radius: 5px; padding: .3rem .6rem; margin: .25rem 0; }
ul { margin: .3rem 0; padding-left: 1.1rem; } li { overflow-wrap: anywhere; }
code { font: .85em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--page, #f4f6f8); border: 1px solid var(--line, #d5dae0); border-radius: 8px; padding: .7rem .85rem; margin: .4rem 0;
  font: .8rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
"""
"""Of texts and messages."""

CARD = """
:host { background: var(--card, #fff); border: 1px solid var(--line, #d5dae0); border-radius: 10px; padding: 1rem 1.1rem; margin: 0 0 1rem;
  box-sizing: border-box; min-width: 0; overflow: visible; }
@media (max-width: 34rem) { :host { padding: .8rem .75rem; } }
"""
"""Of a section."""

INNER = """
:host { border-left: 3px solid var(--line, #d5dae0); padding: .1rem 0 .3rem .8rem; margin: .1rem 0 0; box-sizing: border-box; min-width: 0;
  overflow: visible; }
"""
"""Of a part inside a section."""

PLAIN = ":host { margin: 0; min-width: 0; box-sizing: border-box; overflow: visible; }"
"""Of what only holds others."""

SHORT = {"flex": "1 1 14rem", "min-width": "min(14rem, 100%)", "max-width": "100%"}
"""Place of a field that may share its line."""
WIDE = {"flex": "1 1 100%", "min-width": "0", "max-width": "100%"}
"""Place of a field that has a line of its own."""
GAP = "0.9rem 1.1rem"
