"""Files that are kept for a while after they were made."""

from app.rendering import RecentVideos


def test_the_videos_fetched_last_are_kept_as_far_as_there_is_room():
    videos = RecentVideos(max_bytes=100)
    for name in ("first", "second"):
        videos.keep(name, "video/mp4", name.encode() * 8)
    assert videos.get("first", "video/mp4") == b"first" * 8
    videos.keep("third", "video/mp4", b"x" * 40)
    assert videos.get("second", "video/mp4") is None
    assert videos.get("first", "video/mp4")
    assert videos.get("first", "image/webp") is None
    videos.keep("larger than all", "video/mp4", b"x" * 101)
    assert videos.get("larger than all", "video/mp4") is None
