import LyraTensor
