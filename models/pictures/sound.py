"""The sound of a clip: copied into an MP4 where players find such sound in one, else made AAC."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # large, and most processes never see a clip
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

COPIED = ("aac", "mp3", "mp3float", "opus", "libopus", "ac3", "eac3", "alac", "flac")
RECODED = (
    *("vorbis", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"),
    *("pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
)
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz, that all players know
BITS_PER_CHANNEL = 96_000  # a second


def copied(packets: Iterable["Packet[AudioStream]"], target: "OutputContainer") -> Iterator["Packet[AudioStream]"]:
    """The packets for a new track of ``target``, which is made with the first one."""
    track = None
    for packet in packets:
        if track is None:
            track = target.add_stream_from_template(packet.stream)
        packet.stream = track
        yield packet


def recoded(packets: Iterable["Packet[AudioStream]"], target: "OutputContainer") -> Iterator["Packet[AudioStream]"]:
    """As :func:`copied`, as AAC in mono or stereo. Packets that can't be decoded are left out."""
    track = None
    for packet in packets:
        for frame in _decoded(packet):
            if track is None:
                source = packet.stream
                rate = source.rate if source.rate in AAC_RATES else AAC_RATES[-1]
                track = target.add_stream("aac", rate=rate)
                track.layout = "mono" if source.channels == 1 else "stereo"
                track.bit_rate = BITS_PER_CHANNEL * track.channels
            yield from track.encode(frame)
    if track is not None:
        yield from track.encode(None)


def _decoded(packet: "Packet[AudioStream]") -> list["AudioFrame"]:
    from av import FFmpegError

    try:
        return packet.decode()
    except FFmpegError:
        return []
