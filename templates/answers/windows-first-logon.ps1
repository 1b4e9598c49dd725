# The build user's first logon: drivers and guest agent from their CD, an OpenSSH server with the build's keys, and then the
# guest can be reached. It lies beside the answer file, as do first-logon.json and the keys. What it says goes to the serial
# port too, where the build reads it.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$here = $PSScriptRoot
$state = 'C:\ProgramData\goldenpipe'
New-Item -ItemType Directory -Force -Path $state | Out-Null
Start-Transcript -Path "$state\first-logon.log" -Append | Out-Null

function Write-Mark([string] $text) {
    Write-Output $text
    try {
        $port = New-Object IO.Ports.SerialPort 'COM1', 115200
        $port.Open()
        $port.WriteLine("goldenpipe: $text")
        $port.Close()
    } catch { Write-Output "the serial port cannot be written: $($_.Exception.Message)" }
}

trap {
    Write-Mark "failed: the first logon: $($_.Exception.Message)"
    exit 1
}

# Only SYSTEM and Administrators, by their SIDs: group names differ by language.
function Protect-File([string] $path) {
    & icacls.exe $path '/inheritance:r' '/grant:r' '*S-1-5-18:F' '/grant:r' '*S-1-5-32-544:F' '/q' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "the rights of $path cannot be set (icacls: $LASTEXITCODE)" }
}

function Start-Installer([string] $program, [string] $words) {
    $process = Start-Process -FilePath $program -ArgumentList $words -Wait -PassThru
    if (@(0, 1641, 3010) -notcontains $process.ExitCode) { throw "$program $words ended with exit code $($process.ExitCode)" }
}

$given = Get-Content -Raw -LiteralPath (Join-Path $here 'first-logon.json') | ConvertFrom-Json
& powercfg.exe /x -standby-timeout-ac 0
& powercfg.exe /x -monitor-timeout-ac 0

Write-Mark '75 Windows is installed; the first logon sets up drivers'
foreach ($letter in [char[]]'DEFGHI') {
    foreach ($name in 'virtio-win-gt-x64.msi', 'guest-agent\qemu-ga-x86_64.msi') {
        $file = "${letter}:\$name"
        if (Test-Path -LiteralPath $file) { Start-Installer 'msiexec.exe' "/i ""$file"" /qn /norestart" }
    }
}

Write-Mark '85 Setting up the OpenSSH server'
if (-not (Get-Service -Name sshd -ErrorAction SilentlyContinue)) {
    if ($given.openssh_url) {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor 3072
        $file = Join-Path $state ([IO.Path]::GetFileName(([uri]$given.openssh_url).LocalPath))
        for ($try = 1; ; $try++) {
            try { Invoke-WebRequest -UseBasicParsing -Uri $given.openssh_url -OutFile $file; break }
            catch { if ($try -ge 10) { throw }; Start-Sleep -Seconds 6 }
        }
        $found = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
        if ($given.openssh_checksum -and "sha256:$found" -ne $given.openssh_checksum) { throw "the checksum of $($given.openssh_url) is sha256:$($found.ToLower())" }
        if ($file -like '*.msi') { Start-Installer 'msiexec.exe' "/i ""$file"" /qn /norestart" }
        else {
            Expand-Archive -Force -LiteralPath $file -DestinationPath "$state\openssh"
            $install = @(Get-ChildItem -Recurse -LiteralPath "$state\openssh" -Filter 'install-sshd.ps1')[0]
            Copy-Item -Recurse -Force -LiteralPath $install.DirectoryName -Destination "$env:ProgramFiles\OpenSSH"
            & "$env:ProgramFiles\OpenSSH\install-sshd.ps1"
            Remove-Item -Recurse -Force -LiteralPath "$state\openssh"
        }
        Remove-Item -Force -LiteralPath $file
    } else {
        for ($try = 1; ; $try++) {
            try { Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' | Out-Null; break }
            catch { if ($try -ge 5) { throw "the OpenSSH capability cannot be had ($($_.Exception.Message)); set windows_openssh_url" }; Start-Sleep -Seconds 15 }
        }
    }
}
Stop-Service -Name sshd -ErrorAction SilentlyContinue
$folder = "$env:ProgramData\ssh"
New-Item -ItemType Directory -Force -Path $folder | Out-Null
# what a server makes for itself would be another host key than the one that the build expects
Remove-Item -Force -Path "$folder\ssh_host_*_key*" -ErrorAction SilentlyContinue
foreach ($name in 'ssh_host_ed25519_key', 'ssh_host_ed25519_key.pub', 'administrators_authorized_keys') {
    $file = Join-Path $folder $name
    [IO.File]::WriteAllText($file, [IO.File]::ReadAllText((Join-Path $here $name)).Replace("`r", ''))
    Protect-File $file
}
# the capability brings a rule of this name, for private networks only
if (Get-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue) {
    Set-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -Profile Any -Enabled True
} else {
    New-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -DisplayName 'OpenSSH SSH Server (sshd)' -Direction Inbound `
        -Protocol TCP -LocalPort 22 -Action Allow -Profile Any | Out-Null
}
Set-Service -Name sshd -StartupType Automatic
Write-Mark '95 Starting the OpenSSH server'
Start-Service -Name sshd
