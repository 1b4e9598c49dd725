# Keys of administrators are in one file for all of them; those of other users in the user's own profile.
$administrators = @(Get-LocalGroupMember -SID 'S-1-5-32-544' | ForEach-Object { [string]$_.SID })

function Add-Keys([string] $file) {
    $known = @()
    if (Test-Path -LiteralPath $file) { $known = @(Get-Content -LiteralPath $file | Where-Object { $_.Trim() }) }
    $new = @($given.keys | Where-Object { $known -notcontains $_ })
    [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($file)) | Out-Null
    [IO.File]::WriteAllText($file, ((@($known) + $new) -join "`n") + "`n")
    return $new.Count
}

$shared = "$env:ProgramData\ssh\administrators_authorized_keys"
if (@($given.users).Count -eq 0) {
    $added = Add-Keys $shared
    Protect-Path $shared
    [Console]::Out.WriteLine("administrators: $added new keys")
}
foreach ($name in $given.users) {
    try {
        $user = Get-LocalUser -Name $name
        if ($administrators -contains [string]$user.SID) {
            $added = Add-Keys $shared
            Protect-Path $shared
        } else {
            # a profile exists from the first login on; where it is to be is known before
            $profiles = (Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList').ProfilesDirectory
            $known = Get-CimInstance -ClassName Win32_UserProfile -Filter "SID = '$($user.SID)'"
            if (-not $known) {
                # Windows would make another folder beside one that is there already, so the profile is made first
                Add-Type -Namespace GoldenPipe -Name Profile -MemberDefinition (
                    '[DllImport("userenv.dll", CharSet = CharSet.Unicode)] public static extern int CreateProfile(' +
                    'string sid, string name, System.Text.StringBuilder path, uint length);')
                $path = New-Object Text.StringBuilder 260
                $code = [GoldenPipe.Profile]::CreateProfile([string]$user.SID, $name, $path, 260)
                if ($code -ne 0) { throw "the profile of $name cannot be made (0x$($code.ToString('x8')))" }
                $place = $path.ToString()
            } else { $place = $known.LocalPath }
            if (-not $place) { $place = Join-Path $profiles $name }
            $file = Join-Path $place '.ssh\authorized_keys'
            $added = Add-Keys $file
            $words = @($file, '/inheritance:r', '/grant:r', '*S-1-5-18:F', '/grant:r', '*S-1-5-32-544:F')
            & icacls.exe @words '/grant:r' "*$($user.SID):F" '/q' | Out-Null
            if ($LASTEXITCODE -ne 0) { throw "the rights of $file cannot be set (icacls: $LASTEXITCODE)" }
        }
        [Console]::Out.WriteLine("${name}: $added new keys")
    } catch {
        Write-Record "failed $name"
        throw
    }
}
