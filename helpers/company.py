"""Tallowmere, the company that every notebook's data comes from: what it sells, its queues and its priorities.

It was invented for this course: `data/README.md` says how. A name that tells something and the company's own code for the
same thing stand side by side, since one set of tickets is answered in names and another in codes.
"""

PRODUCTS = {  # kind: (name in the catalogue, plural, opaque code)
    "kettle": ("Brook kettle", "kettles", "N4"),
    "toaster": ("Cinder toaster", "toasters", "G7"),
    "grinder": ("Millstone grinder", "grinders", "A1"),
    "blender": ("Whirl blender", "blenders", "P8"),
    "fan": ("Gale fan", "fans", "V3"),
    "heater": ("Hearth heater", "heaters", "Y6"),
    "radio": ("Lark radio", "radios", "D2"),
    "scale": ("Pebble scale", "scales", "J5"),
    "steamer": ("Swift steamer", "steamers", "E9"),
    "humidifier": ("Fen humidifier", "humidifiers", "L1"),
    "vacuum": ("Drift vacuum", "vacuums", "S7"),
    "lamp": ("Wick lamp", "lamps", "U3"),
}
QUEUES = {  # telling name: opaque code
    "delivery": "K7", "returns": "B2", "repairs": "X9", "billing": "T4",
    "account": "F3", "parts": "W6", "advice": "H8", "trade": "C5",
}  # fmt: skip
PRIORITIES = {"p1": (1, "urgent"), "p2": (2, "repeat"), "p3": (3, "normal")}  # section: (code, telling name)
QUEUE_HINTS = {  # what goes to each queue: a prompt has to say it
    "delivery": "late, lost, address", "returns": "send back, refund", "repairs": "broken, faulty",
    "billing": "payment, invoice", "account": "login, personal data", "parts": "missing or spare part",
    "advice": "question before buying, use", "trade": "business, many pieces",
}  # fmt: skip
