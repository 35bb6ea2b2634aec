"""Hashes of files: PDQ of pictures, vPDQ of videos, and digests.

Pictures need the extra `hashmatch[images]`, videos `hashmatch[video]`.
"""

from hashmatch.hashing.contents import FileHashes, FileKind, hash_contents, hash_file
from hashmatch.hashing.files import DIGESTS, FileError, digest_file
from hashmatch.hashing.images import MAX_PIXELS, ImageHash, NotAPicture, hash_image
from hashmatch.hashing.videos import NotAVideo, VideoFrame, video_frames

__all__ = [
    "DIGESTS",
    "MAX_PIXELS",
    "FileError",
    "FileHashes",
    "FileKind",
    "ImageHash",
    "NotAPicture",
    "NotAVideo",
    "VideoFrame",
    "digest_file",
    "hash_contents",
    "hash_file",
    "hash_image",
    "video_frames",
]
