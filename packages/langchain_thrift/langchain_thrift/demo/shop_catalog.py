"""What the demo's shop sells: families of products, each in several variants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One product in its variants.

    Attributes:
        name: what it is called, without the variant.
        brand: who makes it.
        category: where the shop shows it.
        price_cents: the price of the first variant; each further one costs `step_cents` more.
        step_cents: the price step between variants.
        warranty_months: how long the maker's warranty runs from delivery.
        variants: colours or sizes.
        about: what the product page says first.
        is_final_sale: whether it cannot be returned.
    """

    name: str
    brand: str
    category: str
    price_cents: int
    step_cents: int
    warranty_months: int
    variants: tuple[str, ...]
    about: str
    is_final_sale: bool = False


CATEGORIES = ("electronics", "outdoor", "kitchen", "home", "bicycle", "office")

FAMILIES = (
    Family(
        "Kestrel Noise-Cancelling Headphones", "Auralis", "electronics", 17900, 0, 24, ("graphite", "sand", "pine"),
        "Over-ear headphones with four microphones that quieten trains, planes and open-plan offices without "
        "pressing on the ears. The battery lasts about thirty hours and takes ten minutes to gain another four.",
    ),
    Family(
        "Pocket Radio DAB+", "Auralis", "electronics", 6490, 0, 24, ("black", "cream"),
        "A radio the size of a paperback with a real dial and twenty presets. It runs for fifteen hours on the "
        "built-in battery and wakes you up with a slowly rising volume.",
    ),
    Family(
        "Lumen E-Reader 7", "Pagewright", "electronics", 14900, 3000, 24, ("16 GB", "32 GB", "64 GB"),
        "A seven-inch reader with page-turn keys and a warm front light that follows the time of day. Waterproof "
        "for half an hour at one metre, so the bath and the beach are fine.",
    ),
    Family(
        "Terrier Action Camera", "Moorfield", "electronics", 24900, 4000, 24, ("standard", "dive kit"),
        "A small camera with a stabilised wide lens, made to be mounted on helmets, boards and handlebars. Records "
        "an hour and a half in 4K; two batteries are in the box.",
    ),
    Family(
        "Bolt Power Bank", "Moorfield", "electronics", 3990, 1500, 24, ("10,000 mAh", "20,000 mAh"),
        "Charges a phone two or four times and a laptop once. It shows in per cent what is left and switches off "
        "by itself when nothing is connected.",
    ),
    Family(
        "Trailhead Daypack 24 L", "Fjellby", "outdoor", 8900, 0, 36, ("moss", "slate", "ochre"),
        "A day pack with a stiff back, two bottle pockets you can reach without taking it off and a rain cover in "
        "the bottom compartment. The hip belt comes off for town.",
    ),
    Family(
        "Ridgeline Tent", "Fjellby", "outdoor", 27900, 8000, 36, ("two-person", "three-person"),
        "A tunnel tent that one person can put up in five minutes, even in wind. Poles are colour-coded, the floor "
        "is heavier than the walls, and the porch holds two packs.",
    ),
    Family(
        "Ember Camp Stove", "Fjellby", "outdoor", 5490, 0, 24, ("red", "steel"),
        "Boils half a litre in two and a half minutes and folds to the size of a fist. The wide feet stand firmly "
        "on uneven ground; the igniter works in the wet.",
    ),
    Family(
        "Merino Base Layer", "Halden", "outdoor", 6900, 0, 12, ("S", "M", "L", "XL"),
        "A long-sleeved shirt of fine wool that neither itches nor smells after three days on the trail. Flat "
        "seams under the shoulder straps, machine washable at thirty degrees.",
    ),
    Family(
        "Harbour Rain Jacket", "Halden", "outdoor", 15900, 0, 24, ("S navy", "M navy", "L navy", "L ochre"),
        "A three-layer jacket with a hood that turns with the head and vents under the arms. All seams are taped "
        "and the outer cloth is recycled from fishing nets.",
    ),
    Family(
        "Stonewell Espresso Machine", "Caldera", "kitchen", 38900, 4000, 24, ("matt black", "brushed steel"),
        "A single-boiler machine with a proper 58 mm portafilter and a pressure gauge. It is ready in eight "
        "minutes; the tank holds two litres and lifts out to the front.",
    ),
    Family(
        "Burr Coffee Grinder", "Caldera", "kitchen", 11900, 0, 24, ("black", "white"),
        "Conical steel burrs with forty settings from espresso to French press. The hopper holds a quarter of a "
        "kilo and the dosing knob repeats to half a gram.",
    ),
    Family(
        "Cast-Iron Casserole", "Ormond", "kitchen", 12900, 2500, 120, ("20 cm", "24 cm", "28 cm"),
        "Enamelled cast iron that goes from the hob to the oven to the table. The lid has small drops on its "
        "underside that let steam rain back on the roast.",
    ),
    Family(
        "Chef's Knife 20 cm", "Ormond", "kitchen", 9900, 0, 120, ("walnut", "black"),
        "A forged blade of German steel with a full tang, ground to fifteen degrees on each side. It comes sharp, "
        "in a box with a blade guard and a leaflet on how to keep it so.",
    ),
    Family(
        "Stick Blender Duo", "Caldera", "kitchen", 5990, 1000, 24, ("basic", "with chopper"),
        "Eight hundred watts, a bell that does not splash and a shaft that goes into the dishwasher. Speed follows "
        "how hard you press.",
    ),
    Family(
        "Linen Duvet Cover", "Weft & Co", "home", 11900, 3000, 12, ("single", "double", "king"),
        "Stone-washed linen that is cool in summer and warm in winter, woven in Portugal. It closes with coconut "
        "buttons and needs no ironing.",
    ),
    Family(
        "Arc Floor Lamp", "Nordlys", "home", 18900, 0, 24, ("brass", "black"),
        "A lamp that reaches over the back of a sofa, with a marble foot that keeps it there. The dimmer is in the "
        "cable at hand height; the bulb is included.",
    ),
    Family(
        "Wool Throw", "Weft & Co", "home", 7900, 0, 12, ("oatmeal", "rust", "forest"),
        "A soft throw of lambswool with a short fringe, large enough for two. Air it instead of washing it and it "
        "stays as it is for decades.",
    ),
    Family(
        "Hallway Bench", "Nordlys", "home", 22900, 3000, 60, ("oak", "walnut"),
        "A bench with a shelf for six pairs of shoes, in solid wood with an oiled surface. It comes in two parts "
        "and goes together with four bolts.",
    ),
    Family(
        "Clearance Ceramic Vase", "Nordlys", "home", 3490, 0, 0, ("small white", "tall blue"),
        "The last pieces of a discontinued series, thrown by hand and each a little different. Sold as seen.",
        is_final_sale=True,
    ),
    Family(
        "Commuter Bicycle Light Set", "Velomar", "bicycle", 5990, 0, 24, ("40 lux", "80 lux"),
        "A front and a rear light that clip on without tools and charge over one cable. The front beam has a "
        "sharp upper edge, so it does not dazzle.",
    ),
    Family(
        "Gravel Tyre", "Velomar", "bicycle", 4290, 300, 12, ("700 x 38", "700 x 42", "700 x 47"),
        "A tubeless-ready tyre with a smooth middle and knobs on its shoulders. Rolls quietly on the road and "
        "still brakes on wet gravel.",
    ),
    Family(
        "Pannier Pair 40 L", "Velomar", "bicycle", 13900, 0, 60, ("black", "yellow"),
        "Two rolled-top bags that keep everything dry and click on and off the rack with one hand. Each has a "
        "shoulder strap in the inner pocket.",
    ),
    Family(
        "Clearance Cycling Jersey", "Velomar", "bicycle", 2990, 0, 0, ("S", "M", "L"),
        "Last season's jersey with three back pockets and a full zip. End of line, no reorders.",
        is_final_sale=True,
    ),
    Family(
        "Standing Desk Frame", "Postwick", "office", 32900, 5000, 60, ("single motor", "dual motor"),
        "A steel frame for desk tops from 120 to 180 cm that moves between 62 and 128 cm. It remembers four "
        "heights and stops when it meets a chair.",
    ),
    Family(
        "Task Chair Vela", "Postwick", "office", 28900, 0, 60, ("grey", "blue", "black"),
        "A chair with a mesh back that gives in the right places and arms that move four ways. Delivered in one "
        "piece; only the foot has to be clicked in.",
    ),
    Family(
        "Mechanical Keyboard 75", "Keyhaus", "office", 12900, 0, 24, ("quiet switches", "tactile switches"),
        "A compact keyboard in aluminium with keycaps that do not wear shiny. Works by cable or with three "
        "computers over Bluetooth.",
    ),
    Family(
        "Fountain Pen Contour", "Keyhaus", "office", 4900, 0, 24, ("fine nib", "medium nib", "broad nib"),
        "A steel-nibbed pen that writes at once after a week in the drawer. Takes standard cartridges; a "
        "converter is in the case.",
    ),
)  # fmt: skip

REVIEWS = (
    "Exactly as described and quicker here than promised. I have used it every day for a month and nothing rattles.",
    "Good value. The manual could be clearer, but after ten minutes I had it figured out.",
    "My second one: the first went to my sister because she would not give it back.",
    "Solid, no nonsense. The packaging was all cardboard, which I liked more than I expected.",
    "Does what it should. I would have wished for one more colour, but that is a matter of taste.",
    "After half a year it looks like new. The one small fault was sorted out by the service team within two days.",
    "Slightly larger than it looks in the pictures, so measure first. Otherwise very pleased.",
    "I compared five of these and kept this one. The others were dearer and not better.",
    "Arrived with a scratch on the underside; support sent a replacement part without any discussion.",
    "Bought for the holidays, now used every week. Easy to clean, easy to put away.",
)
