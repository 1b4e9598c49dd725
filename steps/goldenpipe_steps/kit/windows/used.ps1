# How much of the system's disk is in use, in bytes.
$disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID = '$env:SystemDrive'"
Write-Record "used $($disk.Size - $disk.FreeSpace)"
