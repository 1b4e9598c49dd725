[Console]::OutputEncoding = New-Object Text.UTF8Encoding $false

# Lines for the step, not for people, begin with the ASCII record separator.
function Write-Record([string] $text) {
    [Console]::Out.WriteLine([string][char]30 + $text)
}

# The moment of this boot: wininit.exe starts once in each, and its start time never changes.
function Get-Boot {
    $first = Get-CimInstance -ClassName Win32_Process -Filter "Name = 'wininit.exe'" | Select-Object -First 1
    return [string]$first.CreationDate.ToFileTimeUtc()
}

# Only SYSTEM and Administrators, by their SIDs: group names differ by language.
function Protect-Path([string] $path, [switch] $folder) {
    $rights = if ($folder) { '(OI)(CI)F' } else { 'F' }
    $words = @($path, '/inheritance:r', '/grant:r', "*S-1-5-18:$rights", '/grant:r', "*S-1-5-32-544:$rights", '/q')
    & icacls.exe @words | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "the rights of $path cannot be set (icacls: $LASTEXITCODE)" }
}

trap {
    [Console]::Error.WriteLine($_.Exception.Message)
    exit 1
}

