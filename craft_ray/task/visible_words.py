"""Words for what is visible in images, for tasks whose classes are ImageNet's.

Written for this project; none is the name of one of ImageNet's classes, and there are as many as a
head may ask about. How well a head does with them on ImageNet was not measured.
"""

from __future__ import annotations

_MATERIALS = """
aluminium, amber, asphalt, bamboo, bark, brass, brick, bronze, burlap, canvas, cement, ceramic,
chalk, charcoal, chrome, clay, coal, cobblestone, concrete, copper, cork, cotton, crystal,
denim, ebony, enamel, felt, fibreglass, foil, frosted glass, fur, glass, gold, granite, gravel,
gypsum, ivory, jade, lace, lacquer, latex, lead, leather, limestone, linen, linoleum, marble,
mesh, mortar, mother-of-pearl, mud, nylon, oak wood, obsidian, onyx, parchment, pearl, peat,
pewter, pine wood, plaster, plastic, plywood, polished steel, porcelain, quartz, rattan, resin,
rubber, rust, sand, sandstone, satin, sawdust, silicone, silk, silver, slate, snow, soap,
stained glass, steel, straw, styrofoam, suede, tar, terracotta, tin, titanium, tweed, varnish,
wax, wicker, wire mesh, wrought iron, zinc
"""
_TEXTURES = """
banded, blotchy, braided, bumpy, checkered, cobwebbed, cracked, creased, crinkled,
cross-hatched, crumbling, dappled, dented, dotted, dripping, dusty, embroidered, engraved,
fibrous, flaky, fluffy, foamy, frayed, freckled, frilly, fuzzy, glittering, glossy, grainy,
greasy, grooved, hairy, herringbone, interlaced, iridescent, jagged, knitted, lacy, layered,
lined, lumpy, marbled, matted, mossy, paisley, patchwork, peeling, perforated, pitted, plaid,
pleated, polka dots, porous, prickly, quilted, ribbed, rippled, rough, rusty, scaly, scratched,
scribbled, shaggy, shiny, slimy, smeared, smooth, speckled, spiky, spongy, sprinkled, stained,
streaked, striped, studded, swirly, tangled, tarnished, tartan, tattered, tiled, translucent,
transparent, veined, warped, weathered, wet, woven, wrinkled, zigzag
"""
_COLOURS_AND_LIGHT = """
beige, black, blue, brown, burgundy, colourful, cream, crimson, cyan, emerald green, green,
grey, indigo, khaki, lavender, lilac, magenta, maroon, mauve, mint green, navy blue, ochre,
olive green, pastel colours, peach, pink, purple, red, rose, salmon pink, scarlet, sepia, sky
blue, tan, teal, turquoise, vermilion, violet, white, yellow, backlight, bright, candlelight,
dark, dim, flash, glare, glowing, golden hour, lens flare, moonlight, neon light, overexposed,
reflection, shadow, silhouette, sparkle, sunbeam, sunlight, twilight
"""
_SHAPES_AND_PARTS = """
arch, arrow, asymmetric, bent, bulge, circle, coiled, concave, cone, convex, corner, crescent,
cross, cube, curved, cylinder, diagonal, diamond shape, disc, edge, elongated, flat, fork in a
path, frame, grid, groove, heart shape, helix, hexagon, hole, hollow, horizontal, loop, notch,
octagon, oval, parallel lines, pattern, pentagon, pile, pointed, pyramid, rectangle, rim, ring,
rod, round, row, slit, sphere, spiral staircase, square, stack, star shape, symmetric, thick,
thin, tip, triangle, tube, twisted, vertical, wavy, wedge, antenna, axle, beak, blade, claw,
crest, dorsal fin, engine, exhaust pipe, feather, fin, flipper, fuselage, gear, handle,
headlight, hinge, hoof, horn, keel, lever, lid, mane, mast, nozzle, paw, petal, piston,
propeller, pulley, rudder, saddle, sail, shell, snout, spoke, spout, steering wheel, stinger,
stripe, tail, tentacle, thorn, trunk, tusk, valve, whiskers, wheel hub, windscreen, wing mirror
"""
_BODY = """
ankle, arm, back of a head, bald head, beard, belly, braid, cheek, chest, chin, curly hair, ear,
elbow, eye, eyebrow, eyelash, face, finger, fingernail, fist, foot, forehead, freckles, hair,
hand, heel, hip, knee, leg, lips, moustache, mouth, neck, nose, nostril, palm of a hand,
ponytail, rib cage, shoulder, skeleton, skin, skull, smile, spine, tattoo, teeth, thigh, thumb,
toe, tongue, wound, wrist
"""
_PEOPLE_AND_ACTIONS = """
acrobat, actor, archer, artist, astronaut, athlete, audience, baby, ballerina, band, beggar,
blacksmith, boy, butcher, carpenter, cashier, chef, child, choir, clown, couple, crowd, cyclist,
dancer, dentist, diver, doctor, drummer, elderly person, family, farmer, fencer, firefighter,
fisherman, gardener, girl, golfer, guitarist, gymnast, hiker, hunter, jockey, judge, juggler,
king, knight, lifeguard, magician, man, mechanic, miner, monk, musician, nun, nurse, painter,
pedestrian, photographer, pianist, pilot, pirate, police officer, potter, priest, queen, rider,
sailor, scientist, sculptor, singer, skater, soldier, student, surfer, surgeon, swimmer, tailor,
teacher, tourist, twins, waiter, welder, witch, woman, wrestler, applauding, arguing, baking,
begging, bending, biting, blowing, bowing, building, burning, carrying, carving, celebrating,
chasing, chewing, chopping, cleaning, climbing, cooking, crawling, crouching, crying, cutting,
dancing, digging, diving, drawing, drinking, driving, eating, falling, feeding, fighting,
fishing, floating, flying, folding, galloping, gliding, grazing, grinding, hanging, harvesting,
hatching, hiding, hugging, hunting, ironing, jumping, kicking, kissing, kneeling, knitting,
laughing, leaning, lifting, lying down, marching, melting, milking, mowing, nesting, paddling,
painting, peeling fruit, perching, playing, pointing, pouring, praying, pulling, pushing,
reading, resting, riding, rowing, running, sailing, screaming, sewing, shaking hands, shaving,
shopping, shouting, singing, sitting, skating, skiing, sleeping, smoking, sneezing, spinning,
splashing, standing, stretching, surfing, swimming, swinging, talking, throwing, typing,
waiting, walking, washing, waving, weaving, whispering, wrestling, writing, yawning
"""
_SCENES = """
abandoned building, airfield, alley, amphitheatre, aquarium, arcade, archway, attic, auditorium,
avenue, backyard, badlands, balcony, ballroom, bamboo forest, basement, bathroom, battlefield,
bay, bedroom, botanical garden, bowling alley, bridge, building facade, bus stop, cabin, cafe,
campsite, canal, canteen, canyon, car park, cathedral, cave, cemetery, chapel, classroom,
clearing, cloister, coast, construction site, corridor, cottage, courtroom, courtyard, cowshed,
creek, crossroads, crypt, dance floor, delta, desert, dining room, ditch, doorway, driveway,
dunes, elevator, embankment, escalator, estuary, factory, fairground, farmland, ferry terminal,
field, fjord, flea market, footpath, forest, fort, foyer, garage, garden, glacier, gorge,
grassland, gym, hangar, harbour, hedge, hill, hospital ward, hotel room, iceberg, ice rink,
igloo, industrial area, inn, island, jungle, kindergarten, kitchen, laboratory, lagoon, lake,
laundry room, lawn, living room, lobby, locker room, loft, mangrove, market stall, marsh,
meadow, mill, mine shaft, moat, moor, motorway, museum, nightclub, nursery, oasis, observatory,
ocean, office, oil refinery, orchard, pagoda, park, pasture, pavement, plantation, plaza,
playground, polar landscape, pond, porch, power plant, prairie, quarry, quay, railway station,
rainforest, rapids, reservoir, rice paddy, river, road, rooftop, ruins, runway, salt flat,
savanna, school, scrapyard, sea, shed, shopping mall, skyline, skyscraper, slum, square in a
town, stable, stadium, staircase, steppe, stream, street, studio, suburb, subway, swamp,
swimming pool, temple, tennis court, theatre, tower, train platform, tundra, tunnel, underwater,
vegetable garden, veranda, village, vineyard, warehouse, waterfall, wheat field, windmill,
window, woodland, workshop, zoo
"""
_WEATHER_AND_SKY = """
aurora, autumn, avalanche, blizzard, breeze, cloud, cloudless sky, comet, dawn, dew, drizzle,
drought, dusk, dust storm, eclipse, evening, fire, fireworks, flame, flood, fog, frost, galaxy,
hail, haze, hurricane, icicle, lava, lightning, mist, moon, night, night sky, overcast sky,
planet, puddle, rain, rainbow, raindrop, sandstorm, sleet, smog, smoke, snowfall, snowflake,
spark, spring blossom, stars, steam, storm, summer, sunrise, sunset, thundercloud, tidal wave,
tornado, water drop, wave, whirlpool, wildfire, wind, winter
"""
_PICTURES = """
abstract painting, advertisement, aerial photograph, album cover, animation, blueprint, blurred,
book page, calligraphy, caricature, cartoon, chart, close-up, coin, collage, comic strip,
cropped, diagram, doodle, double exposure, drone photograph, etching, film still, fisheye view,
flag, fresco, graffiti, grainy film, handwriting, hieroglyph, icon, illustration, infrared
image, landscape photograph, long exposure, low resolution, macro photograph, manga, map, medal,
microscope image, miniature model, mosaic, motion blur, mural, newspaper, oil painting, origami,
out of focus, panorama, pencil drawing, photograph of a screen, pixel art, playing card, pop
art, portrait, postage stamp, postcard, poster, rendering, satellite image, screenshot,
sculpture, selfie, sign, sketch, statue, stencil, sticker, still life, tapestry, text, thermal
image, tilted, toy figure, video game, view from above, view from below, watermark, watercolour,
wide angle, woodcut, x-ray image
"""
_FOOD = """
almond, apple pie, apricot, asparagus, avocado, bacon, beans, beef, beer, beetroot, biscuit,
blackberry, blueberry, bread, butter, cake, caramel, carrot, celery, cereal, cheese, cherry,
chicken wings, chilli, chips, chocolate, cinnamon, coconut, cocktail, coffee beans, cookie,
crepe, croissant, cupcake, curry, date fruit, doughnut, dumpling, egg, fried egg, fried rice,
fruit salad, garlic, ginger, gingerbread, grapefruit, grapes, ham, hazelnut, honey, jam, jelly,
juice, kebab, kiwi fruit, lasagne, leek, lentils, lettuce, lime, macaron, mango, marshmallow,
meatballs, melon, milk, milkshake, muffin, mussels, mustard, noodles, nuts, olive, omelette,
onion, pancake, papaya, pasta, peanut, pear, peas, pepper mill, pickle, pie, plum, popcorn,
porridge, potato, prawn, pumpkin soup, radish, raisin, raspberry, ravioli, rice, roast, salad,
salami, sandwich, sauce, sausage, seaweed, sesame, soup, soy sauce, spinach, steak, sugar,
sushi, sweet potato, syrup, taco, tofu, tomato, turnip, waffle, walnut, watermelon, yoghurt
"""
_PLANTS_AND_ANIMALS = """
algae, aloe, bird nest, birch, bonsai, bouquet, branch, bud, bush, cactus, caterpillar, cattle,
chick, clover, cobweb, cocoon, crow, dandelion, deer, dolphin, donkey, eagle owl, egg in a nest,
elk, falcon, fallen leaves, fern, firefly, flock, flower, foal, fossil, frog spawn, giraffe,
goat, grass, gull, hedgehog, herd, heron rookery, horse, insect, ivy, kangaroo, kitten, lamb,
leaf, lichen, lily, litter of puppies, lizard skin, mackerel, maple leaf, moose, mosquito, moss,
moth, mouse, mule, octopus, orchid, owl, palm tree, parrot feather, pigeon, pine cone, pollen,
poppy, puppy, raccoon, rat, raven, reed, reindeer, rhinoceros, root, rose bush, salmon, school
of fish, seal, seedling, shark fin, shoal, shrub, sparrow, squid, stem, sunflower, swallow,
swan, swarm, tadpole, thistle, tree, tree stump, trout, tulip, turkey, twig, vine, walrus, water
lily, weed, whale, willow, woodpecker, worm, yak
"""
_TOOLS_AND_THINGS = """
anchor, anvil, armchair, axe, badge, bell, belt, bench, bicycle pump, blanket, blender, bolt,
book, boot, bottle, bow saw, bowl, box, bracelet, brush, bulldozer, bus, button, cable,
calendar, camera lens, candlestick, car, carpet, chair, chalkboard, chandelier, chisel,
cigarette, clamp, cloth, coat hanger, comb, compass rose, crane hook, crown, cup, curtain rail,
dagger, dice, dish rack, doll, door, drawer, drill bit, duct tape, dustpan, earring, easel,
extension cord, eyeglasses, faucet, file, fishing net, flashlight, flowerpot, fork, funnel,
gate, gavel, glove, glue, grater, hacksaw, hat, headphones, helicopter, helmet, hoe, hose,
kettle, key, keyring, kite on a string, knife, ladder, lantern, lathe, lawn chair, light bulb,
magnet, mattress, medicine, metal pipe, microscope, mirror, motorcycle, napkin, needle, nut and
bolt, oar, oven, paint bucket, pan, paper clip, pen, pencil, pickaxe, picture frame, pin,
pincers, pipe wrench, pitchfork, pliers, pocket knife, pot, pram, rake, razor, ribbon, rolling
pin, rope, rug, sandpaper, saucer, saw, scales of a balance, scissors, scythe, sharpening stone,
shelf, shirt, shoe, sickle, skateboard, skirt, sledge, soldering iron, spade, spanner, sponge,
spoon, spring, stapler, stool, string, suitcase, surfboard, sword, table, tablecloth, tape
measure, telescope, thermometer, thread, tie, tile, tongs, toolbox, toothbrush, towel rail, toy
car, train, trowel, truck, tweezers, van, vice, wagon, walking stick, watch strap, watering can,
wedding ring, wheel, whisk, wire, wrench, zip
"""


def visible_words() -> tuple[str, ...]:
    """All of them, in a fixed order."""
    sections = (
        _MATERIALS,
        _TEXTURES,
        _COLOURS_AND_LIGHT,
        _SHAPES_AND_PARTS,
        _BODY,
        _PEOPLE_AND_ACTIONS,
        _SCENES,
        _WEATHER_AND_SKY,
        _PICTURES,
        _FOOD,
        _PLANTS_AND_ANIMALS,
        _TOOLS_AND_THINGS,
    )
    words = ",".join(section.strip() for section in sections).split(",")
    return tuple(" ".join(word.split()) for word in words)
