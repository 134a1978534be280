"""Endless picture and text pairs for the pre-training of the tiny CLIP.

No picture is drawn twice. A batch has a text for every picture, a caption or a prompt, and one
prompt for every class; which text is true of which picture is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.shapes.captions import SYNONYMS, Caption, caption_words, describe, with_article
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import PRETRAIN, Picture, Style, render
from modeling.clip.loader import encode_words, tokenize

TEXT_TOKENS = 40  # longest text that training sees, start and end token included
OBJECT_SHARES = (0.40, 0.33, 0.17, 0.10)  # pictures with one, two, three, four objects
PROMPT_SHARE = 0.35  # texts that are a prompt about one object rather than a caption
FILLER_SHARE = 0.15  # texts with unrelated words in front, so that unknown context does no harm

PROMPTS = (
    "a photo of {}.",
    "a photo of the {bare}.",
    "a picture of {}.",
    "an image of {}.",
    "a drawing of {}.",
    "a sketch of {}.",
    "a photo of {}, a drawn shape.",
    "a picture containing {}.",
    "there is {} in the scene.",
    "{}",
    "{bare}",
    "a photo with {}.",
)
EVERYDAY = (
    "a about above across after all along also an and animal any are art around as at away back "
    "background bad ball beach beautiful been before behind below beside best better between big "
    "bird black blank blue board boat body book both bottom box boy bright brown building but by "
    "called can car card cartoon cat center chair child city clean clear close clothes cloud "
    "color colored come containing corner could covered cropped cute dark day depicting dirty "
    "display do dog door doodle down drawing drawn each earth else empty every everything eye "
    "face family few field find fire first five flat floor flying food for four from front full "
    "game garden girl glass go gold good graffiti grass gray great green ground group hand "
    "hanging happy hard has have he her here high his holding horse hot i icon if illustration "
    "image in inside into is it its itself jpeg just kind kitchen known lake landscape large last "
    "left light like line little logo long look lots low made make man many me metal more most "
    "motion mountain much my nature near new next nice night no not nothing number object of off "
    "old on one only open or orange origami other our out outdoor outside over own page paint "
    "painting paper part pattern people person photo photograph piece pink place plain plastic "
    "plate playing plush point poster present pretty print purple rainbow real red render "
    "rendering rendition right river road room round same say scene screen sculpture sea see set "
    "shape she shelf shiny shown shows side sign silver simple sit sitting sketch sky small snow "
    "so some something space square standing stone street such summer sun symbol table tall "
    "tattoo tattooed than that the their them then there these they thing this those three to "
    "together top toy tree triangle two type under up us used very video view wall was watch "
    "water way we weird well were what when where which while white who wide wild will window "
    "winter with woman wood wooden word work world would x xx year yellow yes you young your "
    "airplane apple bag banana bear bed bench bicycle boot bottle bowl bus cake camera candle cap "
    "chain clock computer couch cow dish dress duck elephant fence fork fruit giraffe guitar hat "
    "helmet hill kite knife lamp laptop leaf mirror monkey motorcycle mouse mug orange pen phone "
    "pizza plant potted rabbit rock rope sail sandwich scissors sheep ship shirt shoe spoon tie "
    "towel toothbrush traffic train truck vase watch wheel zebra "
    "0 1 2 3 4 5 6 7 8 9 b c d e f g h j k l m n o p q r s t u v w y z . , ! ? : ; - ' \" ( ) / & "
    "... itap of a 's 3d lots texture containing without includes including featuring contains"
)


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    images: Tensor  # [B, 3, SIDE, SIDE] uint8
    tokens: Tensor  # [B + C, L] rows of the compact vocabulary, cut to the longest text
    shown: Tensor  # [B, C] bool, classes in the picture
    mentioned: Tensor  # [B + C, C] bool, classes in the text


class Vocabulary:
    """The tokens that the asset keeps, and their rows.

    Rows are sorted by token id, so the end token, the largest id, stays the largest row, which
    is how `CLIP.encode_text` finds it.
    """

    def __init__(self) -> None:
        words = {*caption_words(), *EVERYDAY.split()}
        words.update(word for text in PROMPTS for word in text.format("", bare="").split())
        tokens = {token for word in sorted(words) for token in encode_words(word)}
        start_and_end = tokenize([""])[0, :2].tolist()
        self.ids = torch.tensor(sorted({0, *tokens, *start_and_end}))  # [K]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, texts: list[str]) -> Tensor:
        """Rows [N, TEXT_TOKENS] of N texts.

        Raises:
            ValueError: a token is not in the vocabulary, or a text is too long.
        """
        tokens = tokenize(texts)  # [N, 77]
        rows = torch.searchsorted(self.ids, tokens).clamp_(max=len(self) - 1)
        strange = (self.ids[rows] != tokens).any(dim=1) | (tokens[:, TEXT_TOKENS:] > 0).any(dim=1)
        if strange.any():
            text = texts[int(strange.nonzero()[0, 0])]
            raise ValueError(
                f"{text!r} has a token outside the vocabulary or more than {TEXT_TOKENS} tokens."
            )
        return rows[:, :TEXT_TOKENS]


class DrawnBatches(Dataset):
    """Batch number `step` is a pure function of (seed, step), whoever draws it."""

    def __init__(self, steps: int, batch_size: int, seed: int) -> None:
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.vocabulary = Vocabulary()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        pictures = draw_pictures(self.batch_size, PRETRAIN, rng)
        texts = [write_text(picture, rng) for picture in pictures]
        texts += [write_prompt(class_id, rng) for class_id in range(len(SHAPE_NAMES))]
        rows = self.vocabulary.rows([text.text for text in texts])  # the end token is the maximum
        return Batch(
            images=stack_images(pictures),
            tokens=rows[:, : int(rows.argmax(dim=1).max()) + 1],
            shown=class_table([picture.class_ids for picture in pictures]),
            mentioned=class_table([text.class_ids for text in texts]),
        )


def draw_pictures(count: int, style: Style, rng: np.random.Generator) -> list[Picture]:
    """Draw pictures of one to four objects, every class equally often."""
    sizes = rng.choice(len(OBJECT_SHARES), count, p=OBJECT_SHARES) + 1
    return [render(rng.permutation(len(SHAPE_NAMES))[:size].tolist(), style, rng) for size in sizes]


def write_prompt(class_id: int, rng: np.random.Generator) -> Caption:
    """A prompt about one class, at times by a synonym."""
    name = SHAPE_NAMES[class_id]
    if rng.random() < 0.2:
        name = str(rng.choice(SYNONYMS[name]))
    prompt = PROMPTS[int(rng.integers(len(PROMPTS)))]
    return Caption(prompt.format(with_article(name), bare=name), (class_id,))


def write_text(picture: Picture, rng: np.random.Generator) -> Caption:
    """A caption, or a prompt about one of the objects, at times after unrelated words."""
    if rng.random() < PROMPT_SHARE:
        caption = write_prompt(picture.class_ids[int(rng.integers(len(picture.class_ids)))], rng)
    else:
        caption = describe(picture, rng)
    if rng.random() >= FILLER_SHARE:
        return caption
    room = TEXT_TOKENS - 4 - len(encode_words(caption.text))
    words = rng.choice(EVERYDAY.split(), rng.integers(1, 9)) if room > 12 else []
    if room > 16 and rng.random() < 0.3:
        words = ["x"] * int(rng.integers(1, 17))
    filler = " ".join(words)
    while len(encode_words(filler)) > room:
        filler = filler.rpartition(" ")[0]
    return Caption(f"{filler} {caption.text}".strip(), caption.class_ids)


def stack_images(pictures: list[Picture]) -> Tensor:
    """Pixels of N pictures as [N, 3, SIDE, SIDE] uint8."""
    pixels = np.stack([np.asarray(picture.image) for picture in pictures])  # [N, SIDE, SIDE, 3]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def class_table(class_ids: list[tuple[int, ...]]) -> Tensor:
    """Multi-hot rows [N, C] (bool) of N tuples of class ids."""
    table = torch.zeros(len(class_ids), len(SHAPE_NAMES), dtype=torch.bool)
    for row, ids in zip(table, class_ids, strict=True):
        row[list(ids)] = True
    return table
