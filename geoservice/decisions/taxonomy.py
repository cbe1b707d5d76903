"""Retail categories and how delicate each is: data, and nothing else. Pure.

Departments and names follow the public Google product taxonomy (edition of 2021-09-21,
https://www.google.com/basepages/producttype/taxonomy.en-US.txt) as reference; the selection, the short names and the
classes are this project's own. The classes are the special categories of personal data of Article 9 (1) GDPR, and
what else people expect nobody to conclude from their shopping: debt, pregnancy, addiction, grief. What is said of a
person rather than of goods follows Article 9, too, and the sensitive personal information of California's Civil Code,
section 1798.140 (ae), which adds citizenship and immigration; and, for money, the negative financial status that
Google's policy on personalised advertising (https://support.google.com/adspolicy/answer/143465) lets nobody target.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Sensitivity(StrEnum):
    """What a category would tell about a person."""

    HEALTH = "health"
    PREGNANCY = "pregnancy"
    FAITH = "faith"
    DEBT = "debt"
    SEXUALITY = "sexuality"
    POLITICS = "politics"
    ADDICTION = "addiction"
    ORIGIN = "origin"
    GRIEF = "grief"
    OFFENCES = "offences"


_ORDINARY: Final[dict[str, str]] = {
    "apparel": """
        clothing dresses skirts trousers jeans shorts shirts t-shirts blouses sweaters hoodies jackets coats
        rain-jackets winter-jackets suits ties socks tights pyjamas swimwear sportswear workwear uniforms
        costumes baby-clothing kids-clothing gloves hats caps scarves belts sunglasses umbrellas
    """,
    "shoes": """
        shoes sneakers running-shoes trail-running-shoes hiking-boots boots sandals slippers football-boots
        dance-shoes kids-shoes shoe-care
    """,
    "bags-and-jewellery": """
        bags handbags backpacks suitcases wallets jewellery watches earrings necklaces rings
    """,
    "sports": """
        sports-equipment bicycles e-bikes bicycle-helmets camping tents sleeping-bags climbing skiing
        snowboards skateboards football basketball tennis golf swimming fishing horse-riding yoga fitness
        dumbbells medicine-balls treadmills water-bottles
    """,
    "electronics": """
        electronics phones phone-cases tablets laptops monitors printers cameras headphones loudspeakers
        televisions game-consoles video-games e-readers smart-watches chargers batteries cables
    """,
    "home": """
        furniture sofas beds mattresses wardrobes desks chairs tables lamps rugs curtains bedding towels
        cookware knives tableware coffee-machines kettles toasters refrigerators washing-machines
        vacuum-cleaners candles picture-frames storage-boxes decoration
    """,
    "garden-and-tools": """
        plants flowers seeds garden-tools garden-fertiliser lawn-mowers barbecues garden-furniture tools
        drills paint screws ladders car-parts car-care tyres
    """,
    "food": """
        groceries bread cheese fruit vegetables meat fish chocolate snacks coffee tea juice soft-drinks
        breakfast-cereals pasta rice spices kosher-salt olive-oil ice-cream vegan-food vegetarian-food
    """,
    "beauty": """
        health-beauty cosmetics make-up skin-care hair-care shampoo soap perfume nail-polish shaving
        toothbrushes toothpaste sun-protection
    """,
    "media-and-toys": """
        books novels cook-books travel-guides comics magazines music musical-instruments guitars films toys
        board-games puzzles dolls building-blocks model-railways crafts sewing yarn stationery pens notebooks
        school-supplies greeting-cards gift-cards party-supplies tickets
    """,
    "pets": """
        pet-food dog-food cat-food dog-leads cat-litter aquariums bird-cages
    """,
}
"""Categories that say no more about a person than that she shops."""

_DELICATE: Final[dict[Sensitivity, str]] = {
    Sensitivity.HEALTH: """
        pharmacy medicine prescription-medicine pain-relief allergy-relief cold-and-flu sleep-aids
        antidepressants vitamins dietary-supplements weight-loss diabetes-care blood-glucose-meters
        blood-pressure-monitors hearing-aids contact-lenses incontinence wheelchairs walking-aids crutches
        compression-stockings orthopaedic-insoles wigs hair-loss acne-treatment foot-fungus-treatment
        first-aid medical-tests mobility-scooters oxygen-devices asthma-care mental-health self-help-books
        menstrual-care menopause gluten-free-food diabetic-food
    """,
    Sensitivity.PREGNANCY: """
        pregnancy-tests ovulation-tests fertility maternity-clothing prenatal-vitamins nursing-bras
        breast-pumps baby-registry nappies infant-formula prams cots baby-monitors car-seats-for-babies
    """,
    Sensitivity.FAITH: """
        bibles qurans torahs rosaries prayer-rugs prayer-beads religious-books religious-clothing hijabs
        kippahs crucifixes menorahs halal-food kosher-food first-communion-gifts baptism-gifts
    """,
    Sensitivity.DEBT: """
        loans payday-loans debt-advice credit-repair pawnbroking instalment-credit bankruptcy-advice
    """,
    Sensitivity.SEXUALITY: """
        condoms contraception lubricants sex-toys erotic-lingerie erotic-books erectile-dysfunction sti-tests
        adult-films pride-flags chest-binders
    """,
    Sensitivity.POLITICS: """
        political-books party-merchandise campaign-badges trade-union-membership protest-signs
    """,
    Sensitivity.ADDICTION: """
        alcohol beer wine spirits tobacco cigarettes e-cigarettes nicotine-replacement lottery-tickets
        gambling casino-games cannabis cbd-oil alcohol-tests
    """,
    Sensitivity.ORIGIN: """
        ancestry-tests genetic-tests skin-lightening
    """,
    Sensitivity.GRIEF: """
        funeral-services urns gravestones mourning-clothing sympathy-cards
    """,
    Sensitivity.OFFENCES: """
        criminal-defence bail-bonds
    """,
}
"""Categories that a message may speak of only to whoever declared the interest herself."""

TAXONOMY: Final[dict[str, Sensitivity | None]] = {
    **{category: None for block in _ORDINARY.values() for category in block.split()},
    **{category: kind for kind, block in _DELICATE.items() for category in block.split()},
}
"""Every category that is known, with what it would tell; None for nothing."""

DEPARTMENTS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(block.split()) for name, block in (_ORDINARY | {k.value: b for k, b in _DELICATE.items()}).items()
}
"""The same by department, as the documentation lists it; delicate ones stand under their class."""

STEMS: Final[dict[Sensitivity, str]] = {
    Sensitivity.HEALTH: """
        health medic* medik* pharma* apothek* prescri* drug drugs cancer diabet* incontinen* inkontinen* mental
        depress* antidepress* asthma* hiv dementia alzheimer* psori* menopaus* orthop* wheelchair* rollstuhl*
        disab* behinder* obes* chemotherap* insulin* krankheit* santé salud psychotherap* psychiatr* krebsvorsorge*
        krebstherap*
    """,
    Sensitivity.PREGNANCY: """
        pregnan* schwanger* matern* mutterschaft* prenatal* ovulat* fertility infertil* ivf abort* abtreib*
        grossesse embaraz* gravid* zwanger* umstandsmode* breastfeed*
    """,
    Sensitivity.FAITH: """
        faith religio* bible* quran* koran* torah* islam* muslim* jewish jüdisch* judais* catholic*
        katholisch* kosher koscher halal hijab* kippa* ramadan* prayer*
    """,
    Sensitivity.DEBT: """
        debt* schulden* loan loans kredit* bankrupt* insolven* payday* pawnbrok*
    """,
    Sensitivity.SEXUALITY: """
        sex sexual* erotic* erotik* condom* kondom* contracept* verhütung* sti lgbt* gay lesbian* transgender*
        viagra* vibrator*
    """,
    Sensitivity.POLITICS: """
        politic* politik* election* partei*
    """,
    Sensitivity.ADDICTION: """
        alcohol* alkohol* tobacco* tabak* cigarett* zigarett* nicotin* nikotin* gambl* glücksspiel* casino* addict*
        suchtberat* cannabis vape*
    """,
    Sensitivity.ORIGIN: """
        ethnic* ancestry refugee* asylum*
    """,
    Sensitivity.GRIEF: """
        funeral* bestattung* grief mourning trauer* coffin*
    """,
    Sensitivity.OFFENCES: """
        criminal* felon* convict* probation* parolee vorstraf* vorbestraft* straftat* straffällig*
    """,
}
"""Words that make a category delicate that nobody has listed, and a text unfit for a lock screen; * stands for any
ending. Better one campaign too few than one conclusion too many: several languages, and no exceptions."""

PHRASES: Final[dict[Sensitivity, str]] = {
    Sensitivity.HEALTH: """
        blood-type blood-pressure blood-sugar body-mass-index body-fat body-weight sick-leave sick-note care-level
        chronic-illness long-term-illness genetic-data genome-sequence eating-disorder sleep-disorder
    """,
    Sensitivity.PREGNANCY: """
        baby-due expecting-baby expecting-child trying-to-conceive menstrual-cycle last-period
    """,
    Sensitivity.FAITH: """
        church-member church-membership church-tax philosophical-belief mosque-member synagogue-member
    """,
    Sensitivity.DEBT: """
        credit-score credit-scoring credit-rating credit-history credit-check credit-risk credit-worthy
        credit-worthiness credit-default credit-report fico-score net-worth net-income gross-income annual-income
        monthly-income household-income income-band income-group food-stamps welfare-recipient social-welfare
        unemployment-benefit housing-benefit payment-default payment-arrears financial-distress
    """,
    Sensitivity.SEXUALITY: """
        gender-identity gender-reassignment same-sex trans-man trans-woman
    """,
    Sensitivity.POLITICS: """
        trade-union union-member union-membership party-member party-membership party-affiliation voting-intention
        voter-registration voting-record
    """,
    Sensitivity.ADDICTION: """
        drinking-problem drinking-habit smoking-habit smoking-status drug-use substance-abuse
    """,
    Sensitivity.ORIGIN: """
        national-origin country-of-birth place-of-birth immigration-status residence-permit visa-status skin-colour
        skin-color mother-tongue
    """,
    Sensitivity.GRIEF: """
        death-in-family deceased-partner loss-of-partner
    """,
    Sensitivity.OFFENCES: """
        police-record arrest-record court-record prior-offence prior-offense background-check on-parole parole-officer
    """,
}
"""Words that are harmless apart and delicate together, wherever they stand."""

ATTRIBUTES: Final[dict[Sensitivity, str]] = {
    Sensitivity.HEALTH: "diagnosis disease illness patient disorder vaccinated bmi weight handicap",
    Sensitivity.PREGNANCY: "expecting trimester",
    Sensitivity.FAITH: "church denomination confession konfession atheist christian hindu buddhist sikh",
    Sensitivity.DEBT: "income salary wage wealth overdraft arrears insolvency creditworthiness bonität schufa fico",
    Sensitivity.SEXUALITY: "lgbtq queer bisexual homosexual heterosexual trans",
    Sensitivity.POLITICS: "voter union gewerkschaft",
    Sensitivity.ADDICTION: "smoker drinker sober",
    Sensitivity.ORIGIN: "race racial nationality citizenship immigrant migrant birthplace",
    Sensitivity.GRIEF: "widow widowed widower bereaved bereavement deceased",
    Sensitivity.OFFENCES: "offence offense offender arrest arrested misdemeanour misdemeanor",
}
"""Words that are delicate as the whole name or value of an attribute: income, is_widowed, but not race_day_pack."""
