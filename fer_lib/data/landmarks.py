"""The schemes in which datasets mark points on a face.

* 5: the eyes' centres, the tip of the nose, the corners of the mouth; left in the picture first.
* 68: iBUG 300-W, as CK+ and the procedural faces have it.
* 189: WebMorph, as the London Set has it; points 0 and 1 are the pupils.
"""

import torch

_MIRROR_68 = (
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
    + [64, 63, 62, 61, 60, 67, 66, 65]
)
# The London Set's pairs: the one-to-one map that moves 82 mirrored templates least.
# fmt: off
_MIRROR_189 = [
    1, 0, 10, 17, 16, 15, 14, 13, 12, 11, 2, 9, 8, 7, 6, 5, 4, 3, 27, 26, 25, 24, 23, 22, 21, 20,
    19, 18, 33, 32, 31, 30, 29, 28, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 49, 48, 47, 46, 45, 44,
    56, 57, 58, 59, 60, 55, 50, 51, 52, 53, 54, 66, 67, 68, 69, 70, 61, 62, 63, 64, 65, 82, 81, 80,
    79, 78, 77, 76, 75, 74, 73, 72, 71, 86, 85, 84, 83, 93, 92, 91, 90, 89, 88, 87, 98, 97, 96, 95,
    94, 103, 102, 101, 100, 99, 108, 107, 106, 105, 104, 112, 113, 114, 109, 110, 111, 120, 121,
    122, 123, 124, 115, 116, 117, 118, 119, 133, 132, 131, 130, 129, 128, 127, 126, 125, 144, 143,
    142, 141, 140, 139, 138, 137, 136, 135, 134, 157, 156, 155, 154, 153, 152, 151, 150, 149, 148,
    147, 146, 145, 161, 162, 163, 158, 159, 160, 167, 168, 169, 164, 165, 166, 172, 173, 170, 171,
    174, 175, 178, 177, 176, 182, 181, 180, 179, 184, 183, 187, 188, 185, 186,
]
# fmt: on

# Which point takes whose place when a face is mirrored, by number of points.
MIRROR = {len(order): torch.tensor(order) for order in ([1, 0, 2, 4, 3], _MIRROR_68, _MIRROR_189)}
