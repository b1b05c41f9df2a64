"""Sites and cameras as files state them, and what brings the service there. Pure: `cli.declarative` does the IO.

documents.py     YAML text -> nodes with lines, within bounds
tables.py        CSV text -> the same nodes
forms.py         the forms of values: text, number, drawings, …; both ways
fields.py        the fields of sites and cameras, with their forms
stating.py       nodes -> what the files state
planning.py      what is stated and what there is -> changes, in the order in which they are made
consequences.py  what a change of a camera means for counting
exporting.py     sites and cameras -> a file
"""
