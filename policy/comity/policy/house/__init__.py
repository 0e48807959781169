"""House rules: an agency's own Cedar bundle for its own people, judged at its gateway before it asks anybody.

A house rule only stops or warns (design 6). It is a `forbid` of the action `Ask`; there are no permits, for
nothing here can let anybody see anything: whether a provider answers is the provider's policy alone, which
never hears of these rules and does not rely on them.

`HouseBundle.load` checks a folder, `HouseRules.judge` judges a question.
"""
