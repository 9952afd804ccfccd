"""Find images that are nearly the same: saved again as JPEG, brighter, cropped a little.

The difference hash (dHash) of each image is compared with those of all others and of their crops; what is near is
confirmed by the pixels, so that images which only look alike, such as two handwritten zeros, are never taken for one.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice, product
from multiprocessing.pool import ThreadPool

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tlkeras.data.loading import available_cores
from tlkeras.modalities.base import SIDE

MAX_BITS = 12  # of 64, in which the hashes of candidates differ
MAX_PLAIN_BITS = 2  # the same where there is little detail
LIKELY = 0.7  # correlation of the pixels from which a crop is looked at more closely
SURE = 0.9  # correlation from which two images are one; different photographs reached 0.87
SURE_PLAIN = 0.998  # the same where there is little detail; different digits of 8 x 8 pixels reached 0.996
DETAIL = 0.085  # fraction of the variance that 8 x 8 pixels cannot show, below which there is little detail
MAX_CROPPED = 10_000  # images up to which crops are looked for, as that takes 19 times as long
COMPARED = 5  # pairs for each image whose pixels are compared, besides those that are linked already
MAX_CANDIDATES = 2_000_000  # pairs with near hashes that are looked at
MANY = 100  # images from which on their mean shows what they have in common
CROWD, CROWD_FRACTION = 30, 0.1  # images, and fraction of all, above which a group is no copies of one image
BLOCK = 2**22  # pairs that are compared at a time
WHOLE = (0.0, 0.0, 1.0)
# Left, top and side, as fractions of the image.
CROPS = [WHOLE, *((side_left * (1 - side), side_top * (1 - side), side)
                  for side in (0.9, 0.8) for side_left, side_top in product((0, 0.5, 1), repeat=2))]  # fmt: skip


def near_duplicates(thumbnails: np.ndarray, digests: Sequence[str]) -> np.ndarray:
    """Return pairs `(P, 2)` of ascending indices of nearly the same images, gray uint8 `(N, SIDE, SIDE)`.

    Those with equal digests of their content are the same, and left out.
    """
    grays = [Image.fromarray(thumbnail) for thumbnail in thumbnails]
    plain = np.array([is_plain(gray) for gray in grays], dtype=bool)
    crops = CROPS if len(grays) <= MAX_CROPPED else CROPS[:1]
    hashes = np.zeros((len(grays), len(crops)), np.uint64)
    for index, gray in enumerate(grays):
        hashes[index] = dhash(gray) if plain[index] else [dhash(gray, crop) for crop in crops]
    return confirmed(thumbnails, digests, candidates(hashes, plain))


def confirmed(thumbnails: np.ndarray, digests: Sequence[str], found: Iterable[tuple[int, int, int]]) -> np.ndarray:
    """Return pairs `(P, 2)` of images of which the one and a crop of the other have the same pixels.

    They link all images that are nearly the same; what is linked already is not compared again. Where very many look
    alike, not all are compared.
    """
    pairs: set[tuple[int, int]] = set()
    # What all images have in common, such as the frame of a scan, tells nothing about two of them.
    common = np.float32(0) if len(thumbnails) < MANY else thumbnails.mean(axis=0, dtype=np.float32)
    parents, left = list(range(len(digests))), COMPARED * len(digests) + 1000

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    for whole, part, crop in islice(found, MAX_CANDIDATES):
        if digests[whole] == digests[part] or root(whole) == root(part):
            continue
        if not left:
            break
        left -= 1
        one, other = Image.fromarray(thumbnails[whole]), Image.fromarray(thumbnails[part])
        own, its = (Image.fromarray(np.float32(thumbnails[row]) - common) for row in (whole, part))
        fit = correlation(own, its, CROPS[crop])
        if fit >= SURE and (fit >= SURE_PLAIN or not (is_plain(one) or is_plain(other))):
            pairs.add((min(whole, part), max(whole, part)))
            parents[root(whole)] = root(part)
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def without_crowds(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the pairs `(P, 2)` but for those of so many images that they look alike by nature, as textures do."""
    groups = link(count, pairs)
    sizes = np.bincount(groups)
    return pairs[sizes[groups[pairs[:, 0]]] <= max(CROWD, CROWD_FRACTION * count)]


def link(count: int, pairs: np.ndarray, *keys: Sequence[Hashable | None]) -> np.ndarray:
    """Return a group `(count,)` for each example: of those in pairs `(P, 2)`, and of those with an equal key."""
    edges = [np.asarray(pairs, np.int64).reshape(-1, 2)]
    for values in keys:
        first: dict[Hashable, int] = {}
        found = [(first.setdefault(key, index), index) for index, key in enumerate(values) if key is not None]
        edges.append(np.array(found, np.int64).reshape(-1, 2))
    ones, others = np.concatenate(edges).T
    return connected_components(coo_array((np.ones(len(ones)), (ones, others)), (count, count)), directed=False)[1]


def is_plain(gray: Image.Image) -> bool:
    """Return whether a gray image shows little more than 8 x 8 pixels would, so that others look like it by chance."""
    few = gray.resize((8, 8), Image.Resampling.BOX).resize(gray.size, Image.Resampling.BILINEAR)
    pixels = np.asarray(gray, np.float32)
    return bool(np.square(pixels - np.asarray(few, np.float32)).mean() <= DETAIL * pixels.var())


def dhash(gray: Image.Image, crop: tuple[float, float, float] = WHOLE) -> int:
    """Return 64 bits: whether each of 8 x 8 cells is brighter than the one at its right (Krawetz 2013)."""
    cells = _resized(gray, crop, (9, 8))
    return int.from_bytes(np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes(), "big")


def candidates(hashes: np.ndarray, plain: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield indices of an image, of another one and of its crop, where the hashes `(N, crops)` differ in few bits.

    Of those with little detail, `plain` `(N,)`, the crops are left out.
    """
    rows = max(1, BLOCK // max(1, len(hashes)))
    limits = np.where(plain, MAX_PLAIN_BITS, MAX_BITS).astype(np.int8), np.where(plain, -1, MAX_BITS).astype(np.int8)
    jobs = product(range(hashes.shape[1]), range(0, len(hashes), rows))

    def compare(job: tuple[int, int]) -> np.ndarray:
        crop, start = job
        # The whole of one with the whole of another is compared once, with a crop of another in both directions.
        first, most = start if crop == 0 else 0, limits[crop > 0]
        bits = np.bitwise_count(hashes[start : start + rows, :1] ^ hashes[first:, crop]).astype(np.int8)
        near = bits <= np.minimum(most[start : start + rows, None], most[first:])
        whole, part = np.nonzero(near)
        whole, part = whole + start, part + first
        chosen = whole < part if crop == 0 else whole != part
        return np.stack([whole[chosen], part[chosen], np.full(chosen.sum(), crop)], axis=1)

    with ThreadPool(available_cores()) as pool:
        for block in pool.imap(compare, jobs):
            yield from map(tuple, block.tolist())


def correlation(whole: Image.Image, other: Image.Image, crop: tuple[float, float, float]) -> float:
    """Return how well one gray image fits a crop of another one, -1 to 1, the crop moved a little to fit best."""
    wanted = _standardized(whole, WHOLE)
    best = float(wanted @ _standardized(other, crop)), crop
    if crop == WHOLE or best[0] < LIKELY:
        return best[0] if crop == WHOLE else -1.0
    for step in (0.05, 0.025, 0.0125):
        left, top, side = best[1]
        for wider, right, down in product((0, -step, step), repeat=3):
            size = min(1.0, side + wider)
            near = _inside(left + right - wider / 2, size), _inside(top + down - wider / 2, size), size
            best = max(best, (float(wanted @ _standardized(other, near)), near))
    return best[0]


def _inside(start: float, size: float) -> float:
    return min(max(0.0, start), 1 - size)


def _resized(gray: Image.Image, crop: tuple[float, float, float], size: tuple[int, int]) -> np.ndarray:
    left, top, side = (SIDE * value for value in crop)
    return np.asarray(gray.resize(size, Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)))


def _standardized(gray: Image.Image, crop: tuple[float, float, float]) -> np.ndarray:
    pixels = _resized(gray, crop, (24, 24)).astype(np.float32).ravel()
    pixels -= pixels.mean()
    return pixels / max(1e-6, float(np.linalg.norm(pixels)))
