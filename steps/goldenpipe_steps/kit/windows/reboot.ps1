# Restart, unless somebody has done so since: the boot that is to end is named.
if ((Get-Boot) -eq $given.boot) {
    & shutdown.exe /r /f /t 0 /d p:4:1
    if ($LASTEXITCODE -ne 0 -and $LASTEXITCODE -ne 1115) { throw "the guest cannot be restarted (shutdown: $LASTEXITCODE)" }
}
