"""include/lyra.h in ctypes: its structs and the types of its functions, in its order.

make_abi.py writes this file; do not edit it.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p

SAMPLING = {"default": 0, "greedy": 1, "random": 2}
EXTRACTOR = {"default": 0, "off": 1, "on": 2}
KV_TYPES = {"f32": 0, "f16": 1, "bf16": 2, "q8": 3}
PRECISIONS = {"default": 0, "exact": 1, "fast": 2}
LOG_LEVELS = {1: "info", 2: "warning"}
EVENT_PROGRESS = 1
EVENT_TEXT = 2
EVENT_AUDIO = 4
EVENT_END = 8

LogCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
OpenCallback = ctypes.CFUNCTYPE(c_int32, c_void_p, c_size_t, c_size_t)
ReadFunction = ctypes.CFUNCTYPE(c_int64, c_void_p, c_void_p, c_size_t)
SeekFunction = ctypes.CFUNCTYPE(c_int64, c_void_p, c_int64)
LengthFunction = ctypes.CFUNCTYPE(c_int64, c_void_p)
CloseFunction = ctypes.CFUNCTYPE(None, c_void_p)


class ModelOptions(ctypes.Structure):
    """lyra_model_options"""

    _fields_ = [
        ("size", c_size_t),
        ("towers_dir", c_char_p),
        ("vocoder", c_char_p),
        ("threads", c_int32),
        ("log", LogCallback),
        ("progress", OpenCallback),
        ("user", c_void_p),
        ("sound_projector", c_char_p),
        ("precision", c_int32),
    ]


class ModelInfo(ctypes.Structure):
    """lyra_model_info"""

    _fields_ = [
        ("size", c_size_t),
        ("parameters", c_int64),
        ("weight_bytes", c_int64),
        ("layers", c_int32),
        ("hidden_size", c_int32),
        ("vocabulary_size", c_int32),
        ("context_length", c_int32),
        ("hears_speech", c_int32),
        ("speaks", c_int32),
        ("speech_sample_rate", c_int32),
        ("speech_window_samples", c_int32),
        ("speech_window_tokens", c_int32),
        ("audio_sample_rate", c_int32),
        ("audio_lookahead_samples", c_int32),
        ("sees", c_int32),
        ("hears_sound", c_int32),
        ("vision_token_pixels", c_int32),
    ]


class SessionOptions(ctypes.Structure):
    """lyra_session_options"""

    _fields_ = [
        ("size", c_size_t),
        ("sampling", c_int32),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("seed", c_uint64),
        ("max_new_tokens", c_int32),
        ("max_context_tokens", c_int32),
        ("speak", c_int32),
        ("adapter", c_char_p),
        ("system_prompt", c_char_p),
        ("max_image_pixels", c_int64),
        ("limit_pixels", c_int64),
        ("limit_seconds", c_double),
        ("extractor", c_int32),
        ("extractor_blocks", c_int32),
        ("extractor_gap", c_int32),
        ("extractor_keep", c_float),
        ("kv_type", c_int32),
        ("skip_silence", c_int32),
        ("max_memory_bytes", c_int64),
    ]


class Reader(ctypes.Structure):
    """lyra_reader"""

    _fields_ = [
        ("size", c_size_t),
        ("user", c_void_p),
        ("read", ReadFunction),
        ("seek", SeekFunction),
        ("length", LengthFunction),
        ("close", CloseFunction),
    ]


class VideoOptions(ctypes.Structure):
    """lyra_video_options"""

    _fields_ = [
        ("size", c_size_t),
        ("frames_per_second", c_float),
        ("max_frames", c_int32),
        ("with_audio", c_int32),
    ]


class Progress(ctypes.Structure):
    """lyra_progress"""

    _fields_ = [
        ("size", c_size_t),
        ("phase", c_int32),
        ("done", c_int64),
        ("total", c_int64),
    ]


class Usage(ctypes.Structure):
    """lyra_usage"""

    _fields_ = [
        ("size", c_size_t),
        ("stop", c_int32),
        ("prompt_tokens", c_int64),
        ("media_tokens", c_int64),
        ("cached_tokens", c_int64),
        ("generated_tokens", c_int64),
        ("units", c_int64),
        ("audio_samples", c_int64),
        ("encode_ms", c_double),
        ("prefill_ms", c_double),
        ("decode_ms", c_double),
        ("speech_ms", c_double),
        ("first_token_ms", c_double),
        ("first_audio_ms", c_double),
        ("total_ms", c_double),
        ("adapter", c_char * 64),
        ("extractor_blocks", c_int32),
        ("cache_bytes", c_int64),
    ]


class Media(ctypes.Structure):
    """lyra_media"""

    _fields_ = [
        ("size", c_size_t),
        ("kind", c_int32),
        ("first", c_int64),
        ("tokens", c_int64),
        ("time", c_int32),
        ("height", c_int32),
        ("width", c_int32),
        ("start", c_double),
        ("seconds", c_double),
    ]


#: Each struct, by its name in the header.
STRUCTS = {
    "lyra_model_options": ModelOptions,
    "lyra_model_info": ModelInfo,
    "lyra_session_options": SessionOptions,
    "lyra_reader": Reader,
    "lyra_video_options": VideoOptions,
    "lyra_progress": Progress,
    "lyra_usage": Usage,
    "lyra_media": Media,
}

#: The functions that return a lyra_status, and what they take.
STATUS_FUNCTIONS = {
    "lyra_model_options_init_size": [POINTER(ModelOptions), c_size_t],
    "lyra_model_open": [c_char_p, POINTER(ModelOptions), POINTER(c_void_p)],
    "lyra_model_close": [c_void_p],
    "lyra_model_info_init_size": [POINTER(ModelInfo), c_size_t],
    "lyra_model_get_info": [c_void_p, POINTER(ModelInfo)],
    "lyra_session_options_init_size": [POINTER(SessionOptions), c_size_t],
    "lyra_session_create": [c_void_p, POINTER(SessionOptions), POINTER(c_void_p)],
    "lyra_session_destroy": [c_void_p],
    "lyra_reset": [c_void_p],
    "lyra_save": [c_void_p, c_char_p],
    "lyra_restore": [c_void_p, c_char_p],
    "lyra_set_system_prompt": [c_void_p, c_char_p, c_size_t],
    "lyra_set_speak": [c_void_p, c_int32],
    "lyra_feed_text": [c_void_p, c_char_p, c_size_t],
    "lyra_feed_text_special": [c_void_p, c_char_p, c_size_t],
    "lyra_feed_audio_file": [c_void_p, c_char_p],
    "lyra_feed_audio_bytes": [c_void_p, c_char_p, c_size_t],
    "lyra_feed_audio_reader": [c_void_p, POINTER(Reader)],
    "lyra_feed_audio_pcm": [c_void_p, POINTER(c_float), c_size_t, c_int32, c_int32],
    "lyra_feed_audio_end": [c_void_p],
    "lyra_feed_image_file": [c_void_p, c_char_p],
    "lyra_feed_image_bytes": [c_void_p, c_char_p, c_size_t],
    "lyra_feed_image_reader": [c_void_p, POINTER(Reader)],
    "lyra_feed_image_rgb8": [c_void_p, c_char_p, c_int32, c_int32, c_size_t],
    "lyra_video_options_init_size": [POINTER(VideoOptions), c_size_t],
    "lyra_feed_video_file": [c_void_p, c_char_p, POINTER(VideoOptions)],
    "lyra_feed_video_bytes": [c_void_p, c_char_p, c_size_t, POINTER(VideoOptions)],
    "lyra_feed_video_reader": [c_void_p, POINTER(Reader), POINTER(VideoOptions)],
    "lyra_feed_video_frames": [c_void_p, c_char_p, c_size_t, c_int32, c_int32, c_size_t],
    "lyra_feed_sound_file": [c_void_p, c_char_p],
    "lyra_feed_sound_bytes": [c_void_p, c_char_p, c_size_t],
    "lyra_feed_sound_reader": [c_void_p, POINTER(Reader)],
    "lyra_feed_sound_pcm": [c_void_p, POINTER(c_float), c_size_t, c_int32, c_int32],
    "lyra_end_turn": [c_void_p],
    "lyra_step": [c_void_p, POINTER(c_uint32)],
    "lyra_step_many": [POINTER(c_void_p), c_size_t, POINTER(c_uint32), POINTER(c_int32)],
    "lyra_stop": [c_void_p],
    "lyra_cancel": [c_void_p],
    "lyra_read_text": [c_void_p, POINTER(c_char), c_size_t, POINTER(c_size_t)],
    "lyra_read_audio": [c_void_p, POINTER(c_float), c_size_t, POINTER(c_size_t)],
    "lyra_read_tokens": [c_void_p, POINTER(c_int32), c_size_t, POINTER(c_size_t)],
    "lyra_read_units": [c_void_p, POINTER(c_int32), c_size_t, POINTER(c_size_t)],
    "lyra_progress_init_size": [POINTER(Progress), c_size_t],
    "lyra_get_progress": [c_void_p, POINTER(Progress)],
    "lyra_usage_init_size": [POINTER(Usage), c_size_t],
    "lyra_get_usage": [c_void_p, POINTER(Usage)],
    "lyra_media_init_size": [POINTER(Media), c_size_t],
    "lyra_get_media": [c_void_p, c_int32, POINTER(Media)],
    "lyra_get_kept": [c_void_p, c_int32, POINTER(c_int32), c_size_t, POINTER(c_size_t)],
}

#: The functions that return a string, and what they take.
STRING_FUNCTIONS = {
    "lyra_version": [],
    "lyra_status_name": [c_int32],
    "lyra_last_error": [],
}
