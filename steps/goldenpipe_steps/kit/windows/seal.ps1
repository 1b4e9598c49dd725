# Runs as SYSTEM, with nobody logged in. What goes wrong is written to the serial port: by then no SSH server answers.
function Write-Mark([string] $text) {
    try {
        $port = New-Object IO.Ports.SerialPort 'COM1', 115200
        $port.Open()
        $port.WriteLine("goldenpipe: $text")
        $port.Close()
    } catch { $null = $_ }
}

trap {
    Write-Mark "failed: the seal: $($_.Exception.Message)"
    exit 1
}

# the step must hear first that this has begun
Start-Sleep -Seconds 10
Write-Mark '10 Ending all SSH sessions'
Set-Service -Name sshd -StartupType Manual
Stop-Service -Name sshd -Force
Get-Process -Name 'sshd', 'sshd-session', 'sftp-server' -ErrorAction SilentlyContinue | Stop-Process -Force -ErrorAction SilentlyContinue

Write-Mark '20 Removing the build user, its keys and its folder'
$user = Get-LocalUser -Name $given.user -ErrorAction SilentlyContinue
if ($user) {
    for ($try = 1; ; $try++) {
        $place = Get-CimInstance -ClassName Win32_UserProfile -Filter "SID = '$($user.SID)'"
        if (-not $place) { break }
        if (-not $place.Loaded) { Remove-CimInstance -InputObject $place; break }
        if ($try -gt 30) { throw "the profile of $($given.user) is in use" }
        Get-CimInstance -ClassName Win32_Process | Where-Object {
            (Invoke-CimMethod -InputObject $_ -MethodName GetOwnerSid -ErrorAction SilentlyContinue).Sid -eq [string]$user.SID
        } | ForEach-Object { Stop-Process -Id $_.ProcessId -Force -ErrorAction SilentlyContinue }
        Start-Sleep -Seconds 2
    }
    Remove-LocalUser -Name $given.user
}
$shared = "$env:ProgramData\ssh\administrators_authorized_keys"
if (Test-Path -LiteralPath $shared) {
    $left = @(Get-Content -LiteralPath $shared | Where-Object { $_.Trim() -and -not $_.Contains($given.key) })
    if ($left.Count) { [IO.File]::WriteAllText($shared, ($left -join "`n") + "`n") } else { Remove-Item -Force -LiteralPath $shared }
}
# the server makes new host keys when it starts without
Remove-Item -Force -Path "$env:ProgramData\ssh\ssh_host_*_key*" -ErrorAction SilentlyContinue
Remove-Item -Force -Path "$env:ProgramData\ssh\logs\*" -ErrorAction SilentlyContinue
if ($given.keep_ssh) { Set-Service -Name sshd -StartupType Automatic }
else { Disable-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' }
Remove-Item -Recurse -Force -LiteralPath 'C:\ProgramData\goldenpipe' -ErrorAction SilentlyContinue
Get-ScheduledTask -TaskName 'goldenpipe-*' | Unregister-ScheduledTask -Confirm:$false

Write-Mark '40 Removing cached answer files and passwords'
$logon = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon'
Set-ItemProperty -LiteralPath $logon -Name AutoAdminLogon -Value '0'
foreach ($name in 'DefaultPassword', 'DefaultUserName', 'AutoLogonCount', 'AutoLogonSID') {
    Remove-ItemProperty -LiteralPath $logon -Name $name -ErrorAction SilentlyContinue
}
Remove-ItemProperty -LiteralPath 'HKLM:\SYSTEM\Setup' -Name UnattendFile -ErrorAction SilentlyContinue
$windows = $env:SystemRoot
foreach ($file in "$windows\Panther\unattend.xml", "$windows\Panther\autounattend.xml", "$windows\Panther\unattend-original.xml",
    "$windows\Panther\Unattend\unattend.xml", "$windows\Panther\Unattend\autounattend.xml", "$windows\System32\Sysprep\unattend.xml",
    "$windows\System32\Sysprep\Panther\unattend.xml", "$env:SystemDrive\unattend.xml", "$env:SystemDrive\autounattend.xml") {
    if (Test-Path -LiteralPath $file) { Remove-Item -Force -LiteralPath $file }
}

Write-Mark '50 Emptying temporary folders and logs, trimming the disk'
Get-ChildItem -Force -LiteralPath "$windows\Temp" -ErrorAction SilentlyContinue | Where-Object { $_.Name -ne 'goldenpipe-seal' } |
    Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
Remove-Item -Recurse -Force -Path "$windows\SoftwareDistribution\Download\*" -ErrorAction SilentlyContinue
foreach ($log in 'Application', 'Security', 'Setup', 'System', 'OpenSSH/Operational', 'Windows PowerShell') {
    & wevtutil.exe clear-log $log 2>$null
}
Optimize-Volume -DriveLetter $env:SystemDrive.Substring(0, 1) -ReTrim -ErrorAction SilentlyContinue
Remove-Item -Force -LiteralPath $PSCommandPath
Remove-Item -Recurse -Force -LiteralPath "$windows\Temp\goldenpipe-seal" -ErrorAction SilentlyContinue

Write-Mark '60 sysprep generalizes this Windows and powers off'
$sysprep = "$windows\System32\Sysprep"
Remove-Item -Force -LiteralPath "$sysprep\Sysprep_succeeded.tag" -ErrorAction SilentlyContinue
$process = Start-Process -FilePath "$sysprep\sysprep.exe" -ArgumentList '/generalize /oobe /shutdown /mode:vm /quiet' -Wait -PassThru
Start-Sleep -Seconds 30
if (-not (Test-Path -LiteralPath "$sysprep\Sysprep_succeeded.tag")) {
    $last = @(Get-Content -LiteralPath "$sysprep\Panther\setuperr.log" -Tail 3 -ErrorAction SilentlyContinue) -join ' / '
    throw "sysprep ended with exit code $($process.ExitCode): $last"
}
