"""Words that the scripted generator makes its items of."""

from __future__ import annotations

__all__ = ["ACTIONS", "ANSWERS", "CONTEXTS", "QUESTIONS", "SUBJECTS", "THEMES", "TRAITS"]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


SUBJECTS = _listed(
    """
    sourdough bread, mountain bikes, tax returns, violin lessons, garden ponds, winter tents, job interviews, solar
    panels, train timetables, chess openings, houseplants, wedding speeches, water colours, data backups, beehives,
    marathon training, vintage cameras, cheese platters, rental contracts, night photography, sailing knots, bedtime
    stories, coffee roasting, museum tours, puppy schools, language exams, kitchen knives, insurance claims, kite
    festivals, model railways, thunderstorms, choir rehearsals, budget spreadsheets, pottery glazes, hiking boots,
    aquarium filters, podcast editing, apple orchards, moving vans, birthday cakes, radio plays, rooftop gardens,
    ski passes, crossword puzzles, wood carving, night markets, ferry crossings, jazz pianos, compost heaps,
    telescope lenses
    """
)
ACTIONS = _listed(
    """
    choose, compare, repair, explain, plan, photograph, store, insure, teach, improve, clean, sell, describe,
    schedule, replace, measure, decorate, transport, translate, review, organise, simplify, price, test, restore
    """
)
TRAITS = _listed(
    """
    affordable, fragile, noisy, award-winning, half-finished, second-hand, old-fashioned, lightweight, mysterious,
    overrated, waterproof, seasonal, handmade, imported, confusing, delicate, enormous, unfinished, colourful,
    reliable, rusty, experimental, traditional, portable, luxurious
    """
)
CONTEXTS = _listed(
    """
    before my sister arrives on Friday, with two toddlers in the house, on a very small budget, in a damp basement
    flat, for a class of thirty pupils, without any power tools, during the rainy season, while travelling through
    Portugal, for my grandfather's eightieth birthday, after moving to the countryside, when the weather turns cold,
    for a charity auction in May, from a wheelchair, in less than twenty minutes, next to a busy motorway, as a
    complete beginner, for an audience of engineers, with help from neighbours, at an altitude of two thousand
    metres, once the shops have closed, in a village without internet, for a vegan household, under strict hygiene
    rules, as a surprise for colleagues, over a long weekend
    """
)
QUESTIONS = (
    "How would you {action} {trait} {subject} {context}?",
    "I need to {action} some {subject} {context}. They are {trait}. Where do I begin?",
    "Could you {action} these {trait} {subject} for me, {context}?",
    "Give me three ideas to {action} {subject} that feel {trait} {context}.",
    "Why do people {action} {subject} {context}, even if they look {trait}?",
    "My neighbour says nobody should {action} {trait} {subject} {context}. Is that right?",
    "{context}, what is a sensible way to {action} {subject}? Ours seem {trait}.",
    "Write a note to a friend who wants to {action} {trait} {subject} {context}.",
)
ANSWERS = (
    "Begin small: {action} one part of the {subject} first, note what is {trait}, and carry on {context}.",
    "There are two ways. The quick one is to {action} the {subject} as they are; the {trait} side can wait {context}.",
    "Yes, and many do. If your {subject} are {trait}, set an hour aside to {action} them {context}.",
    "I would not rush. Ask somebody who knows {subject}, then {action} only what is truly {trait} {context}.",
)
THEMES = _listed(
    """
    getting started, saving money, common mistakes, advice for families, working under time pressure, unusual
    places, choosing between options, planning an event, fixing what broke, explaining to others, seasonal
    questions, safety first, working with little space, gifts and surprises, long journeys
    """
)
