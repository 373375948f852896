"""Display filters: Wireshark's language, over the fields of the registry.

reading     an expression → words, each with its place
literals    what stands on the other side of a field, as its type has it
values      operands: fields, slices, functions, arithmetic
relations   tests and how they are joined; true or not of one packet
columns     the same for many frames at once, as far as headers tell
grammar     words → tests; errors point at the place
selector    the selector that all of it makes
"""
