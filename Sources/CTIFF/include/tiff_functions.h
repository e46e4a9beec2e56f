/* What lyra uses of libtiff; see lyra_loading.h. */
LYRA_FUNCTION(TIFF *, TIFFClientOpenExt,
              (const char *name, const char *mode, thandle_t client, TIFFReadWriteProc read, TIFFReadWriteProc write,
               TIFFSeekProc seek, TIFFCloseProc close, TIFFSizeProc size, TIFFMapFileProc map, TIFFUnmapFileProc unmap,
               TIFFOpenOptions *options),
              (name, mode, client, read, write, seek, close, size, map, unmap, options), NULL)
LYRA_PROCEDURE(TIFFClose, (TIFF *file), (file))
LYRA_FUNCTION(int, TIFFIsCODECConfigured, (uint16_t compression), (compression), 0)
LYRA_FUNCTION(int, TIFFIsTiled, (TIFF *file), (file), 0)
LYRA_FUNCTION(TIFFOpenOptions *, TIFFOpenOptionsAlloc, (void), (), NULL)
LYRA_PROCEDURE(TIFFOpenOptionsFree, (TIFFOpenOptions *options), (options))
LYRA_PROCEDURE(TIFFOpenOptionsSetErrorHandlerExtR,
               (TIFFOpenOptions *options, TIFFErrorHandlerExtR handler, void *user), (options, handler, user))
LYRA_PROCEDURE(TIFFOpenOptionsSetMaxSingleMemAlloc, (TIFFOpenOptions *options, tmsize_t bytes), (options, bytes))
LYRA_PROCEDURE(TIFFOpenOptionsSetWarningHandlerExtR,
               (TIFFOpenOptions *options, TIFFErrorHandlerExtR handler, void *user), (options, handler, user))
LYRA_FUNCTION(int, TIFFReadRGBAStripExt, (TIFF *file, uint32_t row, uint32_t *pixels, int stops),
              (file, row, pixels, stops), 0)
LYRA_FUNCTION(int, TIFFReadRGBATileExt, (TIFF *file, uint32_t x, uint32_t y, uint32_t *pixels, int stops),
              (file, x, y, pixels, stops), 0)
LYRA_FUNCTION(int, TIFFReadScanline, (TIFF *file, void *target, uint32_t row, uint16_t sample),
              (file, target, row, sample), -1)
LYRA_FUNCTION(tmsize_t, TIFFReadTile, (TIFF *file, void *target, uint32_t x, uint32_t y, uint32_t z, uint16_t sample),
              (file, target, x, y, z, sample), -1)
LYRA_FUNCTION(uint64_t, TIFFScanlineSize64, (TIFF *file), (file), 0)
LYRA_FUNCTION(uint64_t, TIFFTileSize64, (TIFF *file), (file), 0)
LYRA_FUNCTION(int, TIFFVGetField, (TIFF *file, uint32_t tag, va_list values), (file, tag, values), 0)
LYRA_FUNCTION(int, TIFFVGetFieldDefaulted, (TIFF *file, uint32_t tag, va_list values), (file, tag, values), 0)
LYRA_FUNCTION(int, TIFFVSetField, (TIFF *file, uint32_t tag, va_list values), (file, tag, values), 0)
